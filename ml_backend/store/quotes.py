"""Quotes of deleted texts: taken out of what stands in the store, a little at a time, and kept out of what is written.

The table `deleted_text` has a text until everything was looked through, and as long as somebody may be at work who has
read it before: `apprentice evolve`, or a teacher that was asked for prose. Whatever is written meanwhile is cleaned in
the transaction that writes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from ml_backend.store.database import Database, chunks
from ml_backend.store.erasure import KEYS_AT_ONCE, is_about_texts, owners, standing
from ml_backend.store.gone_texts import GoneTexts, Quoting
from ml_backend.store.locks import EVOLUTION, locked
from ml_backend.store.schema import (
    Text,
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
"""How long ago a question was taken, or renewed, of which somebody waits for the answer."""
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
    """`texts` by their content keys, and the rows that are still to be looked through; None between two queries."""

    texts: Mapping[bytes, str]
    gone: GoneTexts
    rows: Iterator[Row | None]


class QuoteEraser:
    """Takes texts of deleted tasks out of whatever quotes them, for one thread. A process that ends in between leaves
    the search to the next one, which begins it anew."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._searches: dict[int, _Search] = {}

    def step(self, project_id: int) -> bool:
        """Searches for about `STEP_SECONDS`; False if there is nothing to do now. Reads without a lock, and writes only
        what has changed."""
        until = time.monotonic() + STEP_SECONDS
        search = self._searches.pop(project_id, None) or self._begun(project_id)
        if search is None:
            return False
        search = self._without_standing(project_id, search)
        for row in search.rows if search.texts else ():
            if row and search.gone.changes(row.documents, row.quoting):
                self._clean(row, search.gone)
            if time.monotonic() >= until:
                self._searches[project_id] = search
                return True
        if search.texts and self._may_be_written(project_id):
            self._searches[project_id] = search
            return False
        self._forget(project_id, list(search.texts))
        return True

    def _begun(self, project_id: int) -> _Search | None:
        """A search for some of the deleted texts, if there are any."""
        query = sa.select(deleted_text.c.key, deleted_text.c.text).where(deleted_text.c.project == project_id)
        with self._database.read() as connection:
            texts = {row[0]: row[1] for row in connection.execute(query.limit(TEXTS_AT_ONCE))}
        return _Search(texts, GoneTexts(texts.values()), self._rows(project_id)) if texts else None

    def _without_standing(self, project_id: int, search: _Search) -> _Search:
        """The search without what a task has again, which may be quoted."""
        with self._database.read() as connection:
            back = standing(connection, project_id, search.texts)
        if not back:
            return search
        self._forget(project_id, list(back))
        texts = {key: text for key, text in search.texts.items() if key not in back}
        return replace(search, texts=texts, gone=GoneTexts(texts.values()))

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

    def _clean(self, row: Row, gone: GoneTexts) -> None:
        with self._database.begin() as connection:  # read again: it may be another one by now
            for now in list(_read(connection, row.table, row.condition, for_update=True)):
                if changed := gone.changes(now.documents, now.quoting):
                    connection.execute(sa.update(now.table).where(now.condition).values(changed))

    def _may_be_written(self, project_id: int) -> bool:
        """Whether somebody may be about to write one of the texts who has read it before it was deleted."""
        with locked(self._database, EVOLUTION, project_id) as is_free:
            if not is_free:
                return True
        asked = sa.select(sa.func.count()).where(
            question.c.project == project_id, question.c.state == "waiting", question.c.purpose != "label",
            question.c.asked_at >= self._database.now() - ASKED_SECONDS,
        )  # fmt: skip
        with self._database.read() as connection:
            return bool(connection.execute(asked).scalar_one())

    def _forget(self, project_id: int, keys: Sequence[bytes]) -> None:
        for chunk in chunks(keys, KEYS_AT_ONCE):
            done = sa.delete(deleted_text).where(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
            self._database.write(done)


def without_deleted(
    connection: sa.Connection, table: sa.Table, project_id: int, rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Rows as they may be written in this transaction: without the texts of deleted tasks, and none that is about one
    of these. Until its end, no task of the project is deleted."""
    held = sa.select(project.c.id).where(project.c.id == project_id).with_for_update(read=True, key_share=True)
    connection.execute(held)
    query = sa.select(deleted_text.c.key, deleted_text.c.text).where(deleted_text.c.project == project_id)
    texts: dict[bytes, str] = {row[0]: row[1] for row in connection.execute(query)}
    if not texts:
        return list(rows)
    for key in standing(connection, project_id, texts):
        del texts[key]
    gone, names = GoneTexts(texts.values()), {column.name for column in _documents(table)}
    return [
        {**row, **gone.changes({name: row[name] for name in names & row.keys()}, _quoting(table, row.get("key")))}
        for row in rows
        if not is_about_texts(table) or row.get("key") not in texts
    ]


def _documents(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns that may quote texts of tasks."""
    if table in {task, deleted_text, *WITHOUT_TEXTS} or "task" in table.c:
        return []
    return [column for column in table.columns if isinstance(column.type, sa.JSON | sa.Text | Text)]


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
