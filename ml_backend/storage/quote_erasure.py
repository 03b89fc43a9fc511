"""Quotes of deleted texts: taken out of what stands in the store, a little at a time, and kept out of what is written.

The table `deleted_text` has a text until everything was looked through, for `KEEP_SECONDS` at least, and as long as
somebody is at work for longer who may have read the text before: `apprentice evolve`, or a teacher that was asked for
prose. What is written meanwhile is cleaned in the transaction that writes it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from ml_backend.core.lru_cache import LruCache
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.deleted_texts import DeletedTexts, Quoting
from ml_backend.storage.erasure import KEYS_AT_ONCE, is_about_texts, owners, standing
from ml_backend.storage.locks import EVOLUTION, locked
from ml_backend.storage.schema import (
    PortableText,
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

STEP_SECONDS = 0.05
"""Of one step of the search: annotators may be waiting for a round."""
TEXTS_AT_ONCE = 2000  # that one search looks for
ROWS_AT_ONCE = 50  # of one query
ASKED_SECONDS = 60.0
"""After which a question that was taken, and not renewed, is asked no more."""
KEEP_SECONDS = 30.0
"""Longer than a round, or the monitor, takes from reading a text to writing what quotes it."""
TEXTS_KEPT = 200_000  # of all projects, prepared to be looked for in what is written
WITHOUT_TEXTS = {version, round_, call, worker, job}
"""Tables whose words are names and notes of our own."""


class Row(NamedTuple):
    """A row that may quote texts of tasks: which one, its documents by column, and where these may quote."""

    table: sa.Table
    condition: sa.ColumnElement[bool]
    documents: Mapping[str, Any]
    quoting: Quoting


@dataclass(frozen=True, slots=True)
class _Search:
    """For some texts: by content key, when each was deleted. `rows`: what is still to be looked through; None between
    two queries."""

    deleted_at: Mapping[bytes, float]
    gone: DeletedTexts
    rows: Iterator[Row | None]


class QuoteEraser:
    """Takes texts of deleted tasks out of whatever quotes them, for one thread. A process that ends in between leaves
    the search to the next one, which begins it anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._searches: dict[int, _Search] = {}
        self._searched: dict[int, dict[bytes, float]] = {}  # by project: what was looked for, and when it was deleted
        self._nothing_new: dict[int, tuple[Any, ...]] = {}  # by project: count and last deletion at the last look

    def step(self, project_id: int) -> bool:
        """Searches for about `STEP_SECONDS`; False if there is nothing to do now. Reads without a lock, and writes only
        what has changed."""
        until = time.monotonic() + STEP_SECONDS
        search = self._searches.pop(project_id, None) or self._begun(project_id)
        if search is None:
            return self._forget_searched(project_id)
        search = self._without_standing(project_id, search)
        for row in search.rows if search.deleted_at else ():
            if row and search.gone.changes(row.documents, row.quoting):
                self._clean(row, search.gone)
            if time.monotonic() >= until:
                self._searches[project_id] = search
                return True
        self._searched.setdefault(project_id, {}).update(search.deleted_at)
        is_done = self._forget_searched(project_id)
        if more := self._begun(project_id):
            self._searches[project_id] = more
        return is_done or more is not None

    def _begun(self, project_id: int) -> _Search | None:
        """A search for some of the texts that were deleted, or deleted again, since they were looked for; None if there
        are none."""
        mine = deleted_text.c.project == project_id
        with self._database.read() as connection:
            state = _state(connection, project_id)
            if state == self._nothing_new.get(project_id):
                return None
            query = sa.select(deleted_text.c.key, deleted_text.c.deleted_at).where(mine)
            deleted_at: dict[bytes, float] = {row[0]: row[1] for row in connection.execute(query)}
            searched = {k: at for k, at in self._searched.pop(project_id, {}).items() if deleted_at.get(k) == at}
            if searched:
                self._searched[project_id] = searched
            new = list(deleted_at.keys() - searched.keys())[:TEXTS_AT_ONCE]
            if not new:
                self._nothing_new[project_id] = state
                return None
            texts = _texts(connection, project_id, new)
        return _Search({key: deleted_at[key] for key in new}, DeletedTexts(texts), self._rows(project_id))

    def _without_standing(self, project_id: int, search: _Search) -> _Search:
        """The search without what a task has again, which may be quoted."""
        with self._database.read() as connection:
            back = standing(connection, project_id, search.deleted_at)
            if not back:
                return search
            left = {key: at for key, at in search.deleted_at.items() if key not in back}
            texts = _texts(connection, project_id, list(left))
        self._forget(project_id, {key: search.deleted_at[key] for key in back}, 0.0)
        return replace(search, deleted_at=left, gone=DeletedTexts(texts))

    def _rows(self, project_id: int) -> Iterator[Row | None]:
        """Everything in the project that may quote a text. Read as it is asked for: what is added meanwhile behind the
        place where the search is was cleaned when it was written."""
        for table, owner in owners().items():
            if not _documents(table):
                continue
            for condition in self._portions(table, owner, project_id):
                with self._database.read() as connection:
                    rows = list(_read(connection, table, condition))
                yield from rows
                yield None

    def _portions(self, table: sa.Table, owner: sa.Column[Any], project_id: int) -> Iterator[sa.ColumnElement[bool]]:
        """The rows of a project in a table, `ROWS_AT_ONCE` at a time in the order of their primary keys."""
        columns, mine = [column for column in table.primary_key if column is not owner], owner == project_id
        if not columns:
            yield mine
            return
        key = sa.tuple_(*columns)
        left = mine
        while True:
            with self._database.read() as connection:
                some = sa.select(*columns).where(left).order_by(*columns).limit(ROWS_AT_ONCE)
                keys = connection.execute(some).all()
            if not keys:
                return
            yield sa.and_(left, key <= sa.tuple_(*keys[-1]))
            left = sa.and_(mine, key > sa.tuple_(*keys[-1]))

    def _clean(self, row: Row, gone: DeletedTexts) -> None:
        with self._database.begin() as connection:  # read again: it may be another one by now
            for now in list(_read(connection, row.table, row.condition, for_update=True)):
                if changed := gone.changes(now.documents, now.quoting):
                    connection.execute(sa.update(now.table).where(now.condition).values(changed))

    def _forget_searched(self, project_id: int) -> bool:
        """Forgets the texts that were looked for, and that nobody may come to write; whether there were any."""
        searched = self._searched.get(project_id, {})
        return bool(searched) and not self._is_at_work(project_id) and self._forget(project_id, searched, KEEP_SECONDS)

    def _is_at_work(self, project_id: int) -> bool:
        """Whether somebody may have read one of the texts long ago, and be about to write it."""
        with locked(self._database, EVOLUTION, project_id) as is_free:
            if not is_free:
                return True
        asked = sa.select(sa.func.count()).where(
            question.c.project == project_id, question.c.state == "waiting", question.c.purpose != "label",
            question.c.asked_at >= self._database.now() - ASKED_SECONDS,
        )  # fmt: skip
        with self._database.read() as connection:
            return bool(connection.execute(asked).scalar_one())

    def _forget(self, project_id: int, deleted_at: Mapping[bytes, float], keep_seconds: float) -> bool:
        """Forgets texts that were not deleted again, nor in the last seconds; whether there were any."""
        forgotten = 0
        pair = sa.tuple_(deleted_text.c.key, deleted_text.c.deleted_at)
        for chunk in chunks(list(deleted_at.items()), KEYS_AT_ONCE):
            old = deleted_text.c.deleted_at <= self._database.now() - keep_seconds
            mine = sa.and_(deleted_text.c.project == project_id, pair.in_(chunk), old)
            forgotten += self._database.write(sa.delete(deleted_text).where(mine))
        return forgotten > 0


def without_deleted(
    connection: sa.Connection, table: sa.Table, project_id: int, rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Rows as they may be written in this transaction: without the texts of deleted tasks, and none that is about one
    of these. Until its end, no task of the project is deleted."""
    held = sa.select(project.c.id).where(project.c.id == project_id).with_for_update(read=True, key_share=True)
    connection.execute(held)
    state = _state(connection, project_id)
    if not state[0]:
        return list(rows)
    if is_about_texts(table):
        gone_keys = _deleted(connection, project_id, {row["key"] for row in rows if row.get("key") is not None})
        rows = [row for row in rows if row.get("key") not in gone_keys]
    if all(_quotes_nothing(table, row) for row in rows):
        return list(rows)
    gone = _gone_texts.get(
        (str(connection.engine.url), project_id, state), lambda: DeletedTexts(_deleted_texts(connection, project_id)),
        state[0],
    )  # fmt: skip
    names = {column.name for column in _documents(table)}
    return [
        {**row, **gone.changes({name: row[name] for name in names & row.keys()}, _quoting(table, row.get("key")))}
        for row in rows
    ]


_gone_texts: LruCache[tuple[str, int, tuple[Any, ...]], DeletedTexts] = LruCache(TEXTS_KEPT)


def _state(connection: sa.Connection, project_id: int) -> tuple[Any, ...]:
    """How many deleted texts there are in a project, and when the last of them was deleted."""
    query = sa.select(sa.func.count(), sa.func.max(deleted_text.c.deleted_at))
    return tuple(connection.execute(query.where(deleted_text.c.project == project_id)).one())


def _texts(connection: sa.Connection, project_id: int, keys: Sequence[bytes]) -> list[str]:
    """The deleted texts of some content keys."""
    texts: list[str] = []
    for chunk in chunks(keys, KEYS_AT_ONCE):
        mine = sa.and_(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
        texts.extend(connection.execute(sa.select(deleted_text.c.text).where(mine)).scalars())
    return texts


def _deleted(connection: sa.Connection, project_id: int, keys: Collection[bytes]) -> set[bytes]:
    """Those of some content keys whose texts were deleted and did not come back."""
    found: set[bytes] = set()
    for chunk in chunks(list(keys), KEYS_AT_ONCE):
        mine = sa.and_(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
        found.update(connection.execute(sa.select(deleted_text.c.key).where(mine)).scalars())
    return found - standing(connection, project_id, found)


def _deleted_texts(connection: sa.Connection, project_id: int) -> list[str]:
    """The texts that were deleted and did not come back."""
    back = sa.exists().where(task.c.project == project_id, task.c.key == deleted_text.c.key)
    query = sa.select(deleted_text.c.text).where(deleted_text.c.project == project_id, ~back)
    return list(connection.execute(query).scalars())


def _quotes_nothing(table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Whether a row is of a kind that quotes no other text: a label's question without examples."""
    return table is question and row.get("key") is not None and not row["body"]["examples"]


def _documents(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns that may quote texts of tasks."""
    if table in {task, deleted_text, *WITHOUT_TEXTS} or "task" in table.c:
        return []
    return [column for column in table.columns if isinstance(column.type, sa.JSON | sa.Text | PortableText)]


def _quoting(table: sa.Table, key: bytes | None) -> Quoting:
    """Where a row may quote texts; `key`: of the text that it is about."""
    if table is not question:
        return "in prose"
    return "anywhere" if key is None else "nowhere"


def _read(
    connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool], *, for_update: bool = False
) -> Iterator[Row]:
    """Some rows that may quote texts of tasks."""
    columns = _documents(table)
    key = table.c.key if is_about_texts(table) else sa.null().label("key")
    query = sa.select(*table.primary_key, *columns, key).where(condition)
    if table is question:  # of a label, with no others as examples, there may be many
        query = query.where(sa.or_(key.is_(None), table.c.body[("examples", 0)].as_string().is_not(None)))
    for row in connection.execute(query.with_for_update() if for_update else query).mappings():
        this = sa.and_(*(column == row[column.name] for column in table.primary_key))
        yield Row(table, this, {column.name: row[column.name] for column in columns}, _quoting(table, row["key"]))
