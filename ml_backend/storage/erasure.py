"""Deleted means deleted: what is removed with tasks, and with a whole project, from every table there is.

Tables are found by their columns, so that a new one is covered from its first day. `project` (of the table `project`:
`id`) says whose a row is; `task`, or the content `key` of a task's text, what it is about. JSON and Text columns of the
others may hold texts of tasks: prompts with examples, what the teacher wrote. Those are looked through later, by a
worker (see `quotes`): until then, the table `deleted_text` says what for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend.core.types import KEY_BYTES
from ml_backend.storage import revisions
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.schema import (
    NO_VERSION,
    annotation,
    call,
    deleted_text,
    ledger_total,
    metadata,
    project,
    shown,
    task,
)

Keys = npt.NDArray[np.bytes_]
REMOVED_AT_ONCE = 2000  # rows of one transaction
KEYS_AT_ONCE = 500  # content keys of one query


def owners() -> dict[sa.Table, sa.Column[Any]]:
    """The tables that hold rows of projects, each with the column that says whose; the table `project` last."""
    found = {table: table.c.project for table in metadata.tables.values() if "project" in table.c}
    return {**found, project: project.c.id}


def is_about_texts(table: sa.Table) -> bool:
    """Whether rows of the table may be about a text, by its content key."""
    return "key" in table.c and isinstance(table.c.key.type, sa.LargeBinary)


def erase_tasks(database: Database, connection: sa.Connection, project_id: int, tasks: Collection[int]) -> int:
    """Removes tasks and the rows about them; returns how many tasks there were. What quotes the tasks is for `quotes`.

    Annotations and shown drafts leave empty rows behind: a late event must not bring an annotation back, and whoever
    counts shown drafts follows them by their revisions, and would not see that one is gone.
    """
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
    for key in standing(connection, project_id, texts):
        del texts[key]
    for table, owner in owners().items():
        if is_about_texts(table) and table is not task:
            connection.execute(sa.delete(table).where(owner == project_id, table.c.key.in_(list(texts))))
    rows = [{"project": project_id, "key": key, "text": text} for key, text in texts.items() if text]
    if rows:
        connection.execute(database.insert_or_ignore(deleted_text), rows)
        for chunk in chunks(list(texts), KEYS_AT_ONCE):
            mine = sa.and_(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
            connection.execute(sa.update(deleted_text).where(mine).values(deleted_at=database.now()))
    return removed


def standing(connection: sa.Connection, project_id: int, keys: Collection[bytes]) -> set[bytes]:
    """Those of some content keys that a task has."""
    found: set[bytes] = set()
    for chunk in chunks(keys, KEYS_AT_ONCE):
        query = sa.select(task.c.key).where(task.c.project == project_id, task.c.key.in_(chunk))
        found.update(connection.execute(query).scalars())
    return found


def content_keys(database: Database, project_id: int) -> Keys:
    """(n,) the content keys of the texts that a project has, in ascending order: of its tasks, and of what the teacher
    was asked about."""
    found: set[bytes] = set()
    with database.read() as connection:
        for table, owner in owners().items():
            if is_about_texts(table) and table is not deleted_text:
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
