"""Removes tasks, and whole projects, from every table.

The columns of a table decide which of its rows are removed, so that a new table is covered without a change here.
`project` (in the table `project`: `id`) names the project of a row; `task`, or the content `key` of a task's text,
names its task. JSON and text columns of other rows may quote texts of tasks, for example in prompts and in texts that
the teacher wrote. A worker removes these quotes later (see `quote_erasure`); until then, the table `deleted_text` holds
the texts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend.core.types import CONTENT_KEY_BYTES
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
ROWS_PER_TRANSACTION = 2000
KEYS_PER_QUERY = 500


def project_columns() -> dict[sa.Table, sa.Column[Any]]:
    """Returns the tables that hold rows of projects, each with the column of the project's id; the table `project` is
    the last one."""
    columns = {table: table.c.project for table in metadata.tables.values() if "project" in table.c}
    return {**columns, project: project.c.id}


def has_content_key(table: sa.Table) -> bool:
    """Returns whether rows of the table name a text by its content key."""
    return "key" in table.c and isinstance(table.c.key.type, sa.LargeBinary)


def erase_tasks(database: Database, connection: sa.Connection, project_id: int, tasks: Collection[int]) -> int:
    """Removes tasks and all rows that name them, and returns the number of tasks. Leaves their quotes to
    `quote_erasure`.

    Annotations and published drafts leave empty rows behind: a late event must not add an annotation again, and a
    reader that follows the revisions of published drafts must see that a draft is gone.
    """
    is_removed = sa.and_(task.c.project == project_id, task.c.id.in_(tasks))
    keys = sa.select(task.c.key, task.c.text).where(is_removed)
    texts: dict[bytes, str] = {row[0]: row[1] for row in connection.execute(keys)}
    revision = revisions.lock(connection, database, project_id)
    revision = replace(revision, number=revision.number + 1)
    revisions.save(connection, project_id, revision)
    for table, project_column in project_columns().items():
        if "task" not in table.c:
            continue
        names_task = sa.and_(project_column == project_id, table.c.task.in_(tasks))
        if table is annotation:
            empty = sa.update(table).where(names_task, table.c.deleted)
            connection.execute(empty.values(labels={}, annotator=None, lead_time=None, revision=revision.number))
        elif table is shown:
            values: dict[str, Any] = {"version": NO_VERSION, "drafts": {}}
            connection.execute(sa.update(table).where(names_task).values(**values, revision=revision.number))
        else:
            connection.execute(sa.delete(table).where(names_task))
    removed = connection.execute(sa.delete(task).where(is_removed)).rowcount
    for key in keys_of_tasks(connection, project_id, texts):
        del texts[key]
    for table, project_column in project_columns().items():
        if has_content_key(table) and table is not task:
            connection.execute(sa.delete(table).where(project_column == project_id, table.c.key.in_(list(texts))))
    rows = [{"project": project_id, "key": key, "text": text} for key, text in texts.items() if text]
    if rows:
        connection.execute(database.insert_or_ignore(deleted_text), rows)
        for chunk in chunks(list(texts), KEYS_PER_QUERY):
            is_deleted = sa.and_(deleted_text.c.project == project_id, deleted_text.c.key.in_(chunk))
            connection.execute(sa.update(deleted_text).where(is_deleted).values(deleted_at=database.now()))
    return removed


def keys_of_tasks(connection: sa.Connection, project_id: int, keys: Collection[bytes]) -> set[bytes]:
    """Returns those of the content keys that belong to a task of the project."""
    present: set[bytes] = set()
    for chunk in chunks(keys, KEYS_PER_QUERY):
        query = sa.select(task.c.key).where(task.c.project == project_id, task.c.key.in_(chunk))
        present.update(connection.execute(query).scalars())
    return present


def content_keys(database: Database, project_id: int) -> Keys:
    """Returns the content keys (n,) of a project's texts in ascending order: the texts of its tasks, and the texts that
    the teacher was asked about."""
    keys: set[bytes] = set()
    with database.read() as connection:
        for table, project_column in project_columns().items():
            if has_content_key(table) and table is not deleted_text:
                query = sa.select(table.c.key).where(project_column == project_id, table.c.key.is_not(None))
                keys.update(connection.execute(query).scalars())
    return np.sort(np.array(list(keys), f"S{CONTENT_KEY_BYTES}"))


def erase_project(
    database: Database, project_id: int, *, ledger: bool = True, rows_per_transaction: int = ROWS_PER_TRANSACTION
) -> dict[str, int]:
    """Removes all rows of a project, that of the table `project` last, and returns the number of rows by table. The
    call can be repeated if it was interrupted.

    ledger  whether the ledger, from which budgets are computed, is removed as well
    """
    removed: dict[str, int] = {}
    for table, project_column in project_columns().items():
        if table in (call, ledger_total) and not ledger:
            continue
        keys = sa.tuple_(*table.primary_key)
        batch = sa.select(*table.primary_key).where(project_column == project_id).limit(rows_per_transaction)
        while True:
            with database.begin() as connection:
                count = connection.execute(sa.delete(table).where(keys.in_(batch))).rowcount
            if not count:
                break
            removed[table.name] = removed.get(table.name, 0) + count
    return removed


def count_rows(database: Database, project_id: int) -> dict[str, int]:
    """Returns the number of a project's rows by table, without tables that have none."""
    counts: dict[str, int] = {}
    with database.read() as connection:
        for table, project_column in project_columns().items():
            query = sa.select(sa.func.count()).select_from(table).where(project_column == project_id)
            if count := int(connection.execute(query).scalar_one()):
                counts[table.name] = count
    return counts
