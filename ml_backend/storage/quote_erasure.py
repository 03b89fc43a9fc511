"""Removes quotes of deleted texts from the store, in small steps, and keeps them out of rows that are written later.

A quote is the text of a task, or its beginning, in a row that is not about this task: for example in the few-shot
examples of a question, in a reply of the teacher, or in a text that the teacher wrote.

A deleted text stays in the table `deleted_text` until all rows were searched, and for at least `KEEP_SECONDS`. It stays
longer while a process is at work that may have read it before its deletion: `apprentice evolve`, or a teacher that was
asked for something else than a label. While a text is in the table, each transaction that writes rows removes the text
from these rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from ml_backend.core.lru_cache import LruCache
from ml_backend.storage.columns import PortableText
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.deleted_texts import DeletedTexts, Quoting
from ml_backend.storage.erasure import KEYS_PER_QUERY, has_content_key, keys_of_tasks, project_columns
from ml_backend.storage.locks import EVOLUTION, locked
from ml_backend.storage.schema import (
    GIVEN_UP_SECONDS,
    call,
    deleted_text,
    job,
    project,
    question,
    round_,
    task,
    version,
    worker,
)

KEEP_SECONDS = 30.0
"""Longer than a round, or the monitor, takes from reading a text to writing a row that quotes the text."""
MAX_CACHED_TEXTS = 200_000
"""Number of deleted texts, over all projects, whose search index is kept in memory."""
TABLES_WITHOUT_TEXTS = {version, round_, call, worker, job}
"""Tables that hold names and messages of this program only."""


class Row(NamedTuple):
    """A row that may quote texts of tasks: its table, the condition that selects it, its documents by column, and the
    strings of the documents that may be quotes."""

    table: sa.Table
    condition: sa.ColumnElement[bool]
    documents: Mapping[str, Any]
    quoting: Quoting


@dataclass(frozen=True, slots=True)
class _Search:
    """A search for deleted texts.

    deleted_at  content key of each text -> time of its deletion
    texts       the texts
    rows        the rows that are still to be searched; None between two queries
    """

    deleted_at: Mapping[bytes, float]
    texts: DeletedTexts
    rows: Iterator[Row | None]


@dataclass(frozen=True, slots=True)
class ErasureLimits:
    """
    step_seconds      duration of one step of the search; it is short, because annotators may be waiting for a round
    texts_per_search  deleted texts that are searched for at once
    rows_per_query    rows that are read at once
    keep_seconds      how long a deleted text is kept at least
    """

    step_seconds: float = 0.05
    texts_per_search: int = 2000
    rows_per_query: int = 50
    keep_seconds: float = KEEP_SECONDS


class QuoteEraser:
    """Removes texts of deleted tasks from all rows that quote them. Belongs to one thread. The state of a search is in
    memory only: if the process ends before the search, the next process searches again from the start."""

    def __init__(self, database: Database, limits: ErasureLimits = ErasureLimits()) -> None:
        self._database = database
        self._limits = limits
        self._searches: dict[int, _Search] = {}  # by project
        self._searched: dict[int, dict[bytes, float]] = {}  # by project: `deleted_at` of the texts searched for so far
        self._state_without_new: dict[int, tuple[Any, ...]] = {}  # by project: `_state` when no text was new

    def step(self, project_id: int) -> bool:
        """Searches for about `step_seconds`, and forgets texts that no process can write any more. Returns whether
        another step may have something to do. Reads without a lock, and writes only rows that change."""
        until = self._database.clock.monotonic() + self._limits.step_seconds
        search = self._searches.pop(project_id, None) or self._begin_search(project_id)
        if search is None:
            return self._forget_searched(project_id)
        search = self._without_returned(project_id, search)
        for row in search.rows if search.deleted_at else ():
            if row and search.texts.changes(row.documents, row.quoting):
                self._clean(row, search.texts)
            if self._database.clock.monotonic() >= until:
                self._searches[project_id] = search
                return True
        self._searched.setdefault(project_id, {}).update(search.deleted_at)
        has_forgotten = self._forget_searched(project_id)
        if next_search := self._begin_search(project_id):
            self._searches[project_id] = next_search
        return has_forgotten or next_search is not None

    def _begin_search(self, project_id: int) -> _Search | None:
        """Returns a search for up to `texts_per_search` texts that were not searched for since their last deletion;
        None if there are none."""
        of_project = deleted_text.c.project == project_id
        with self._database.read() as connection:
            state = _state(connection, project_id)
            if state == self._state_without_new.get(project_id):
                return None
            query = sa.select(deleted_text.c.key, deleted_text.c.deleted_at).where(of_project)
            deleted_at: dict[bytes, float] = {row[0]: row[1] for row in connection.execute(query)}
            earlier = self._searched.pop(project_id, {})
            searched = {key: time_ for key, time_ in earlier.items() if deleted_at.get(key) == time_}
            if searched:
                self._searched[project_id] = searched
            new = list(deleted_at.keys() - searched.keys())[: self._limits.texts_per_search]
            if not new:
                self._state_without_new[project_id] = state
                return None
            texts = _texts(connection, project_id, new)
        return _Search({key: deleted_at[key] for key in new}, DeletedTexts(texts), self._rows(project_id))

    def _without_returned(self, project_id: int, search: _Search) -> _Search:
        """Returns the search without the texts that a task of the project has again: these may be quoted."""
        with self._database.read() as connection:
            returned = keys_of_tasks(connection, project_id, search.deleted_at)
            if not returned:
                return search
            remaining = {key: at for key, at in search.deleted_at.items() if key not in returned}
            texts = _texts(connection, project_id, list(remaining))
        self._forget(project_id, {key: search.deleted_at[key] for key in returned}, 0.0)
        return replace(search, deleted_at=remaining, texts=DeletedTexts(texts))

    def _rows(self, project_id: int) -> Iterator[Row | None]:
        """Yields all rows of the project that may quote a text, and None after each batch, so that a step can end
        there. Rows are read while the search goes on: a row that is added before the current position is not read, but
        was cleaned when it was written."""
        for table, project_column in project_columns().items():
            if not _document_columns(table):
                continue
            for condition in self._batches(table, project_column, project_id):
                with self._database.read() as connection:
                    rows = list(_read(connection, table, condition))
                yield from rows
                yield None

    def _batches(
        self, table: sa.Table, project_column: sa.Column[Any], project_id: int
    ) -> Iterator[sa.ColumnElement[bool]]:
        """Yields conditions that select `rows_per_query` rows of the project each, in the order of the primary key."""
        columns = [column for column in table.primary_key if column is not project_column]
        of_project = project_column == project_id
        if not columns:
            yield of_project
            return
        key = sa.tuple_(*columns)
        remaining = of_project
        while True:
            with self._database.read() as connection:
                batch = sa.select(*columns).where(remaining).order_by(*columns).limit(self._limits.rows_per_query)
                keys = connection.execute(batch).all()
            if not keys:
                return
            yield sa.and_(remaining, key <= sa.tuple_(*keys[-1]))
            remaining = sa.and_(of_project, key > sa.tuple_(*keys[-1]))

    def _clean(self, row: Row, texts: DeletedTexts) -> None:
        with self._database.begin() as connection:  # reads the row again: another process may have changed it
            for current in list(_read(connection, row.table, row.condition, for_update=True)):
                if changes := texts.changes(current.documents, current.quoting):
                    connection.execute(sa.update(current.table).where(current.condition).values(changes))

    def _forget_searched(self, project_id: int) -> bool:
        """Removes the texts that were searched for from `deleted_text`, unless a process may still write them. Returns
        whether any was removed."""
        searched = self._searched.get(project_id, {})
        if not searched or self._may_be_written(project_id):
            return False
        return self._forget(project_id, searched, self._limits.keep_seconds)

    def _may_be_written(self, project_id: int) -> bool:
        """Returns whether a process is at work that may have read a text before its deletion, and may still write it:
        `apprentice evolve`, or a teacher that was asked for something else than a label."""
        with locked(self._database, EVOLUTION, project_id) as is_held:
            if not is_held:
                return True
        asked = sa.select(sa.func.count()).where(
            question.c.project == project_id, question.c.state == "waiting", question.c.purpose != "label",
            question.c.asked_at >= self._database.now() - GIVEN_UP_SECONDS,
        )  # fmt: skip
        with self._database.read() as connection:
            return bool(connection.execute(asked).scalar_one())

    def _forget(self, project_id: int, deleted_at: Mapping[bytes, float], keep_seconds: float) -> bool:
        """Removes texts from `deleted_text`, except texts that were deleted again after the time in `deleted_at`, and
        texts that were deleted in the last `keep_seconds`. Returns whether any was removed."""
        n_forgotten = 0
        pair = sa.tuple_(deleted_text.c.key, deleted_text.c.deleted_at)
        for chunk in chunks(list(deleted_at.items()), KEYS_PER_QUERY):
            is_old = deleted_text.c.deleted_at <= self._database.now() - keep_seconds
            condition = sa.and_(deleted_text.c.project == project_id, pair.in_(chunk), is_old)
            n_forgotten += self._database.write(sa.delete(deleted_text).where(condition))
        return n_forgotten > 0


def without_deleted(
    connection: sa.Connection, table: sa.Table, project_id: int, rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Returns the rows that may be written in this transaction: rows whose content key is that of a deleted text are
    left out, and quotes of deleted texts are removed from the others. Locks the project's row, so that no task of the
    project can be deleted until the transaction ends."""
    lock = sa.select(project.c.id).where(project.c.id == project_id).with_for_update(read=True, key_share=True)
    connection.execute(lock)
    state = _state(connection, project_id)
    if not state[0]:
        return list(rows)
    if has_content_key(table):
        deleted = _deleted_keys(connection, project_id, {row["key"] for row in rows if row.get("key") is not None})
        rows = [row for row in rows if row.get("key") not in deleted]
    if all(_quotes_nothing(table, row) for row in rows):
        return list(rows)
    texts = _cached_texts.get(
        (str(connection.engine.url), project_id, state), lambda: DeletedTexts(_deleted_texts(connection, project_id)),
        state[0],
    )  # fmt: skip
    names = {column.name for column in _document_columns(table)}
    return [
        {**row, **texts.changes({name: row[name] for name in names & row.keys()}, _quoting(table, row.get("key")))}
        for row in rows
    ]


_cached_texts: LruCache[tuple[str, int, tuple[Any, ...]], DeletedTexts] = LruCache(MAX_CACHED_TEXTS)


def _state(connection: sa.Connection, project_id: int) -> tuple[Any, ...]:
    """Returns the number of a project's deleted texts, and the time of the last deletion."""
    query = sa.select(sa.func.count(), sa.func.max(deleted_text.c.deleted_at))
    return tuple(connection.execute(query.where(deleted_text.c.project == project_id)).one())


def _texts(connection: sa.Connection, project_id: int, keys: Sequence[bytes]) -> list[str]:
    """Returns the deleted texts with these content keys."""
    texts: list[str] = []
    for chunk in chunks(keys, KEYS_PER_QUERY):
        condition = sa.and_(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
        texts.extend(connection.execute(sa.select(deleted_text.c.text).where(condition)).scalars())
    return texts


def _deleted_keys(connection: sa.Connection, project_id: int, keys: Collection[bytes]) -> set[bytes]:
    """Returns those of the content keys whose texts were deleted and belong to no task again."""
    deleted: set[bytes] = set()
    for chunk in chunks(list(keys), KEYS_PER_QUERY):
        condition = sa.and_(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
        deleted.update(connection.execute(sa.select(deleted_text.c.key).where(condition)).scalars())
    return deleted - keys_of_tasks(connection, project_id, deleted)


def _deleted_texts(connection: sa.Connection, project_id: int) -> list[str]:
    """Returns the texts that were deleted and belong to no task again."""
    has_task = sa.exists().where(task.c.project == project_id, task.c.key == deleted_text.c.key)
    query = sa.select(deleted_text.c.text).where(deleted_text.c.project == project_id, ~has_task)
    return list(connection.execute(query).scalars())


def _quotes_nothing(table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Returns whether a row cannot quote the text of another task: the row is a question for the label of one task,
    without examples."""
    return table is question and row.get("key") is not None and not row["body"]["examples"]


def _document_columns(table: sa.Table) -> list[sa.Column[Any]]:
    """Returns the columns that may quote texts of tasks. Rows that name their task have none: they are removed or
    emptied with the task."""
    if table in {task, deleted_text, *TABLES_WITHOUT_TEXTS} or "task" in table.c:
        return []
    return [column for column in table.columns if isinstance(column.type, sa.JSON | sa.Text | PortableText)]


def _quoting(table: sa.Table, key: bytes | None) -> Quoting:
    """Returns which strings of a row may be quotes. `key`: the content key of the text that the row is about"""
    if table is not question:
        return "in prose"
    return "anywhere" if key is None else "nowhere"


def _read(
    connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool], *, for_update: bool = False
) -> Iterator[Row]:
    """Yields the rows that meet the condition and may quote texts of tasks."""
    columns = _document_columns(table)
    key = table.c.key if has_content_key(table) else sa.null().label("key")
    query = sa.select(*table.primary_key, *columns, key).where(condition)
    if table is question:  # leaves out questions for labels without examples, of which there may be many
        query = query.where(sa.or_(key.is_(None), table.c.body[("examples", 0)].as_string().is_not(None)))
    for row in connection.execute(query.with_for_update() if for_update else query).mappings():
        is_row = sa.and_(*(column == row[column.name] for column in table.primary_key))
        documents = {column.name: row[column.name] for column in columns if not _has_labels_only(column, row["key"])}
        yield Row(table, is_row, documents, _quoting(table, row["key"]))


def _has_labels_only(column: sa.Column[Any], key: bytes | None) -> bool:
    """Returns whether a column of a row holds labels, which may be equal to texts: the answer to a question about one
    task. `key`: the content key of the text that the row is about"""
    return column is question.c.content and key is not None
