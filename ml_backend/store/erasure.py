"""Deleted means deleted: what is removed with tasks, and with a whole project, from every table there is.

Tables are found by their columns, so that a new one is covered from its first day. `project` (of the table `project`:
`id`) says whose a row is; `task`, or the content `key` of a task's text, what it is about. JSON and Text columns of the
others may hold texts of tasks: prompts with examples, what the teacher wrote. Those are looked through later, by a
worker: until then, the table `deleted_text` says what for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend.domain import KEY_BYTES
from ml_backend.store import revisions
from ml_backend.store.database import Database
from ml_backend.store.schema import (
    NO_VERSION,
    Text,
    annotation,
    call,
    deleted_text,
    job,
    ledger_total,
    metadata,
    project,
    question,
    round_,
    shown,
    task,
    version,
    worker,
)

Keys = npt.NDArray[np.bytes_]
REMOVED_AT_ONCE = 2000  # rows of one transaction
TEXTS_AT_ONCE = 500
TELLING = 60
"""Characters of a text by which it is known again, however it was cut short after them."""
SHORT = 20
"""Characters below which a text may be a label's name, or any words: it is looked for where texts stand, and in quotes
elsewhere."""
TEXT_NAMES = {"text", "texts", "examples", "records", "hard", "easy"}
"""The names under which documents hold texts."""
LABEL_NAMES = {"labels", "label", "shares", "reply", "choices", "instead"}
"""The names under which documents hold names of labels, which may be those of texts."""
CUT = "…"
"""How a text ends that was cut short."""
WITHOUT_TEXTS = {version, round_, call, worker, job}
"""Tables whose words are names and notes of our own."""
Quoting = Literal["anywhere", "in prose", "nowhere"]
"""Where strings may quote texts, and not only be one: in a prompt anywhere, in a document but for what stands for a
text of its own, in what is about another text nowhere."""


def owners() -> dict[sa.Table, sa.Column[Any]]:
    """The tables that hold rows of projects, each with the column that says whose; the table `project` last."""
    found = {table: table.c.project for table in metadata.tables.values() if "project" in table.c}
    return {**found, project: project.c.id}


def _is_about_texts(table: sa.Table) -> bool:
    """Whether rows of the table may be about a text, by its content key."""
    return "key" in table.c and isinstance(table.c.key.type, sa.LargeBinary)


def erase_tasks(database: Database, connection: sa.Connection, project_id: int, tasks: Collection[int]) -> int:
    """Removes tasks and the rows about them; returns how many tasks there were. Of an annotation and of a shown draft,
    an empty tombstone is left: a late event must not bring the annotation back, and who counts shown drafts by their
    revision has to learn that one went. What quotes the tasks is for `erase_quotes`."""
    mine = sa.and_(task.c.project == project_id, task.c.id.in_(tasks))
    keys = sa.select(task.c.key, task.c.text).where(mine)
    texts: dict[bytes, str] = {row[0]: row[1] for row in connection.execute(keys)}
    revision = revisions.lock(connection, database, project_id)
    revision = replace(revision, number=revision.number + 1)  # readers look again at what was answered and shown
    revisions.save(connection, project_id, revision)
    for table, owner in owners().items():
        if "task" not in table.c:
            continue
        about = sa.and_(owner == project_id, table.c.task.in_(tasks))
        if table is annotation:
            emptied = sa.update(table).where(about, table.c.deleted)
            connection.execute(emptied.values(choices=[], annotator=None, lead_time=None, revision=revision.number))
        elif table is shown:
            emptied = sa.update(table).where(about)
            empty: dict[str, Any] = {"version": NO_VERSION, "author": None, "choices": [], "confidence": None}
            connection.execute(emptied.values(**empty, revision=revision.number))
        else:
            connection.execute(sa.delete(table).where(about))
    removed = connection.execute(sa.delete(task).where(mine)).rowcount
    for key in _standing(connection, project_id, texts):
        del texts[key]
    for table, owner in owners().items():
        if _is_about_texts(table) and table is not task:
            connection.execute(sa.delete(table).where(owner == project_id, table.c.key.in_(list(texts))))
    rows = [{"project": project_id, "key": key, "text": text} for key, text in texts.items() if text]
    if rows:
        connection.execute(database.insert_or_ignore(deleted_text), rows)
    return removed


def _standing(connection: sa.Connection, project_id: int, keys: Collection[bytes]) -> set[bytes]:
    """Those of some content keys that a task has."""
    query = sa.select(task.c.key).where(task.c.project == project_id, task.c.key.in_(list(keys)))
    return set(connection.execute(query).scalars())


def erase_quotes(database: Database, project_id: int) -> int:
    """Takes texts of deleted tasks out of whatever quotes them, at most `TEXTS_AT_ONCE`; returns how many were looked
    for, 0 when there are none left. Reads without a lock, and writes only what has changed."""
    some = sa.select(deleted_text.c.key, deleted_text.c.text).where(deleted_text.c.project == project_id)
    with database.read() as connection:
        texts = {row[0]: row[1] for row in connection.execute(some.limit(TEXTS_AT_ONCE))}
        if not texts:
            return 0
        gone = GoneTexts([texts[key] for key in texts.keys() - _standing(connection, project_id, texts)])
        found = [
            (table, row)
            for table, owner in owners().items()
            for row, document, quoting in _documents(connection, table, owner == project_id)
            if gone.changes(document, quoting)
        ]
    for table, row in found:
        with database.begin() as connection:  # read again: it may be another one by now
            for _, document, quoting in list(_documents(connection, table, row, for_update=True)):
                if changed := gone.changes(document, quoting):
                    connection.execute(sa.update(table).where(row).values(changed))
    with database.begin() as connection:
        done = sa.delete(deleted_text).where(deleted_text.c.project == project_id)
        connection.execute(done.where(deleted_text.c.key.in_(list(texts))))
    return len(texts)


def _documents(
    connection: sa.Connection, table: sa.Table, mine: sa.ColumnElement[bool], *, for_update: bool = False
) -> Iterator[tuple[sa.ColumnElement[bool], dict[str, Any], Quoting]]:
    """Of each row that may quote texts of tasks: the row, its documents by column, and where these may quote."""
    columns = [column for column in table.columns if isinstance(column.type, sa.JSON | sa.Text | Text)]
    if not columns or table in {task, deleted_text, *WITHOUT_TEXTS} or "task" in table.c:
        return
    key = table.c.key if _is_about_texts(table) else sa.null().label("key")
    query = sa.select(*table.primary_key, *columns, key).where(mine)
    if table is question:  # of a label, with no others as examples, there may be many
        query = query.where(sa.or_(key.is_(None), table.c.body[("examples", 0)].as_string().is_not(None)))
    for row in connection.execute(query.with_for_update() if for_update else query).mappings():
        this = sa.and_(*(column == row[column.name] for column in table.primary_key))
        quoting: Quoting = "in prose" if table is not question else "anywhere" if row["key"] is None else "nowhere"
        yield this, {column.name: row[column.name] for column in columns}, quoting


class GoneTexts:
    """Texts that are to be found in documents, also cut short, in one line, or inside of JSON that is text itself."""

    def __init__(self, texts: Collection[str]) -> None:
        wordings = {wording for text in texts for wording in (text, " ".join(text.split())) if wording}
        self._whole = wordings
        self._wordings = [wording if len(wording) >= SHORT else f'"{wording}"' for wording in wordings]

    def changes(self, document: Mapping[str, Any], quoting: Quoting) -> dict[str, Any]:
        """The columns of a row that are other ones without them."""
        cleaned = {name: self.without(value, name, quoting) for name, value in document.items()}
        return {name: value for name, value in cleaned.items() if value != document[name]}

    def without(self, value: Any, name: str, quoting: Quoting) -> Any:
        """The document, whose value stands under a name, without them: "" where one of them was all of a string."""
        if name in LABEL_NAMES:
            return value
        if isinstance(value, dict):
            return {key: self.without(inner, str(key), quoting) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.without(inner, name, quoting) for inner in value]
        if not isinstance(value, str) or not value:
            return value
        if (name in TEXT_NAMES or len(value) >= SHORT) and self._is_one(value):
            return ""
        may_quote = quoting == "anywhere" or (quoting == "in prose" and name not in TEXT_NAMES)
        return self._without_quotes(value, name, quoting) if may_quote else value

    def _is_one(self, value: str) -> bool:
        """Whether a string is one of them, whole or cut short."""
        if value in self._whole:
            return True
        start = value.removesuffix(CUT).rstrip()
        return value.endswith(CUT) and any(text.startswith(start) for text in self._whole if len(text) > len(start))

    def _without_quotes(self, value: str, name: str, quoting: Quoting) -> str:
        if value.startswith(("[", "{")):
            try:
                document = json.loads(value)
            except ValueError:
                return self._cut_out(value)
            cleaned = self.without(document, name, quoting)
            return value if cleaned == document else json.dumps(cleaned, ensure_ascii=False)
        return self._cut_out(value)

    def _cut_out(self, value: str) -> str:
        """The string without what agrees with one of the texts from its beginning on."""
        for wording in self._wordings:
            while (at := value.find(wording[:TELLING])) >= 0:
                end = min(TELLING, len(wording))
                while end < len(wording) and value[at + end : at + end + 1] == wording[end]:
                    end += 1
                value = value[:at] + value[at + end :]
        return value


def content_keys(database: Database, project_id: int) -> Keys:
    """(n,) the content keys of the texts that a project has, in ascending order: of its tasks, and of what the teacher
    was asked about."""
    found: set[bytes] = set()
    with database.read() as connection:
        for table, owner in owners().items():
            if _is_about_texts(table) and table is not deleted_text:
                query = sa.select(table.c.key).where(owner == project_id, table.c.key.is_not(None))
                found.update(connection.execute(query).scalars())
    return np.sort(np.array(list(found), f"S{KEY_BYTES}"))


def erase_project(database: Database, project_id: int, *, ledger: bool = True) -> dict[str, int]:
    """Removes all rows of a project, those of the table `project` last; returns how many, by table. Interrupted, it can
    be called again. ledger: also what the teacher has cost, by which budgets are reckoned"""
    removed: dict[str, int] = {}
    for table, owner in owners().items():
        if table in (call, ledger_total) and not ledger:
            continue
        keys = sa.tuple_(*table.primary_key)
        some = sa.select(*table.primary_key).where(owner == project_id).limit(REMOVED_AT_ONCE)
        while True:
            with database.begin() as connection:
                count = connection.execute(sa.delete(table).where(keys.in_(some))).rowcount
            if not count:
                break
            removed[table.name] = removed.get(table.name, 0) + count
    return removed


def count_rows(database: Database, project_id: int) -> dict[str, int]:
    """How many rows of a project there are, by table; tables without any are left out."""
    found: dict[str, int] = {}
    with database.read() as connection:
        for table, owner in owners().items():
            query = sa.select(sa.func.count()).select_from(table).where(owner == project_id)
            if count := int(connection.execute(query).scalar_one()):
                found[table.name] = count
    return found
