"""The tasks of each project: id, content key, text and fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from ml_backend.core.arrays import Ints, Mask
from ml_backend.core.texts import Texts
from ml_backend.core.types import EMPTY_TEXT_KEY, SYNTHETIC_FIELD, TaskContent
from ml_backend.storage.annotations import Annotations
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.erasure import erase_tasks
from ml_backend.storage.schema import annotation, project
from ml_backend.storage.schema import task as table

ROWS_PER_TRANSACTION = 2000
REMOVED_PER_TRANSACTION = 500


class Tasks:
    """The table `task`. Every change raises the project's `tasks_revision`, which shows readers that tasks changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project_id: int, examples: Iterable[TaskContent], *, only_new: bool = False) -> int:
        """Adds tasks and, unless `only_new`, updates tasks that are in the store. Returns the number of changed
        rows."""
        n_changed = 0
        for chunk in chunks({example.task: example for example in examples}.values(), ROWS_PER_TRANSACTION):
            if only_new and self._has_all(project_id, [example.task for example in chunk]):
                continue  # the usual case for an event, which needs no write lock
            with self._database.begin() as connection:
                if only_new:
                    n_changed += self._add(connection, project_id, chunk)
                    continue
                query = (
                    sa.select(table.c.id, table.c.key, table.c.fields, table.c.displayed_values)
                    .where(table.c.project == project_id)
                    .where(table.c.id.in_([example.task for example in chunk]))
                )
                stored = {row[0]: (row[1], row[2], row[3] or {}) for row in connection.execute(query)}
                rows = [
                    _row(project_id, example)
                    for example in chunk
                    if stored.get(example.task) != (example.key, example.fields, example.displayed_values)
                ]
                if rows:
                    revision = _raise_revision(connection, project_id)
                    connection.execute(self._database.upsert(table), [{**row, "revision": revision} for row in rows])
                    n_changed += len(rows)
        return n_changed

    def _add(self, connection: sa.Connection, project_id: int, examples: Sequence[TaskContent]) -> int:
        """Adds the tasks that are not in the table when the database writes them. Returns their number."""
        revision = _raise_revision(connection, project_id)
        rows = [{**_row(project_id, example), "revision": revision} for example in examples]
        insert = self._database.insert_or_ignore(table).values(rows).returning(table.c.id)
        return len(connection.execute(insert).all())

    def _has_all(self, project_id: int, tasks: list[int]) -> bool:
        query = sa.select(sa.func.count()).where(table.c.project == project_id).where(table.c.id.in_(tasks))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one()) == len(tasks)

    def remove(self, project_id: int, tasks: Iterable[int]) -> int:
        """Removes tasks, their annotations and all other rows that name them. Returns the number of tasks. A worker
        removes their quotes later: see `quote_erasure`."""
        n_removed = 0
        for chunk in chunks(set(tasks), REMOVED_PER_TRANSACTION):
            annotated = sa.select(annotation.c.id).where(
                annotation.c.project == project_id, annotation.c.task.in_(chunk), ~annotation.c.deleted
            )
            with self._database.read() as connection:
                annotations = list(connection.execute(annotated).scalars())
            Annotations(self._database).delete(project_id, annotations)
            with self._database.begin() as connection:
                # the project's row is locked first, as in `put`, so that two transactions cannot deadlock
                connection.execute(sa.select(project.c.id).where(project.c.id == project_id).with_for_update())
                count = erase_tasks(self._database, connection, project_id, chunk)
                if count:
                    _raise_revision(connection, project_id)
                n_removed += count
        return n_removed

    def count(self, project_id: int) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.project == project_id)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def index(self, project_id: int) -> tuple[Ints, list[bytes]]:
        """Returns all task ids in ascending order, (n,) int64, and their content keys."""
        query = sa.select(table.c.id, table.c.key).where(table.c.project == project_id).order_by(table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return np.fromiter((row[0] for row in rows), np.int64, len(rows)), [row[1] for row in rows]

    def changed_since(self, project_id: int, since: int) -> tuple[Ints, list[bytes], Mask]:
        """Returns the tasks that were added or changed after a revision.

        Returns their ids (n,) int64 in ascending order, their content keys, and (n,) bool whether a teacher wrote the
        task. A learner may be fitted on tasks that a teacher wrote, and is never evaluated on them.
        """
        is_synthetic = table.c.fields[SYNTHETIC_FIELD].as_string().is_not(None)
        query = (
            sa.select(table.c.id, table.c.key, is_synthetic)
            .where(table.c.project == project_id, table.c.revision > since)
            .order_by(table.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        ids = np.array([row[0] for row in rows], np.int64)
        return ids, [row[1] for row in rows], np.array([row[2] for row in rows], np.bool_)

    def ids(self, project_id: int) -> Ints:
        """Returns all task ids in ascending order, (n,) int64."""
        query = sa.select(table.c.id).where(table.c.project == project_id).order_by(table.c.id)
        with self._database.read() as connection:
            return np.array(connection.execute(query).scalars().all(), np.int64)

    def values(self, project_id: int, field: str, tasks: Sequence[int]) -> dict[int, str]:
        """Returns the value of a field, by id, for those of the tasks that have the field."""
        values: dict[int, str] = {}
        for chunk in chunks(tasks, ROWS_PER_TRANSACTION):
            query = (
                sa.select(table.c.id, table.c.fields).where(table.c.project == project_id).where(table.c.id.in_(chunk))
            )
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            values.update((row[0], row[1][field]) for row in rows if row[1] and field in row[1])
        return values

    def without_text(self, project_id: int) -> Ints:
        """Returns the ids of the tasks that have neither a text nor a record, (m,) int64 in ascending order."""
        query = (
            sa.select(table.c.id)
            .where(table.c.project == project_id, table.c.key == EMPTY_TEXT_KEY)
            .order_by(table.c.id)
        )
        with self._database.read() as connection:
            return np.array(connection.execute(query).scalars().all(), np.int64)

    def first_contents(self, project_id: int, most: int, *, with_text: bool) -> list[TaskContent]:
        """Returns the first tasks by id, at most `most`, that have a text (`with_text`), or that have none."""
        has_text = table.c.key != EMPTY_TEXT_KEY if with_text else table.c.key == EMPTY_TEXT_KEY
        query = _select_contents(project_id)
        with self._database.read() as connection:
            rows = connection.execute(query.where(has_text).order_by(table.c.id).limit(most)).all()
        return [_content(row) for row in rows]

    def contents(self, project_id: int, tasks: Sequence[int]) -> dict[int, TaskContent]:
        """Returns the contents of those of the tasks that exist, by id."""
        contents: dict[int, TaskContent] = {}
        for chunk in chunks(tasks, ROWS_PER_TRANSACTION):
            query = _select_contents(project_id).where(table.c.id.in_(chunk))
            with self._database.read() as connection:
                contents.update((row[0], _content(row)) for row in connection.execute(query))
        return contents

    def texts_of(self, project_id: int, tasks: Ints) -> Texts:
        """Returns the texts of the tasks (n,), each of which is read when it is asked for."""
        return Texts(len(tasks), lambda rows: self.texts(project_id, tasks[rows].tolist()))

    def texts(self, project_id: int, tasks: Sequence[int]) -> list[str]:
        """Returns the texts of the tasks, in the order of `tasks`; "" for a task that does not exist."""
        texts: dict[int, str] = {}
        for chunk in chunks(tasks, ROWS_PER_TRANSACTION):
            query = (
                sa.select(table.c.id, table.c.text).where(table.c.project == project_id).where(table.c.id.in_(chunk))
            )
            with self._database.read() as connection:
                texts.update((row[0], row[1]) for row in connection.execute(query))
        return [texts.get(task, "") for task in tasks]


def _row(project_id: int, example: TaskContent) -> dict[str, Any]:
    return {
        "project": project_id, "id": example.task, "key": example.key, "text": example.text, "fields": example.fields,
        "displayed_values": example.displayed_values or None,
    }  # fmt: skip


def _select_contents(project_id: int) -> sa.Select[Any]:
    columns = table.c.id, table.c.text, table.c.key, table.c.fields, table.c.displayed_values
    return sa.select(*columns).where(table.c.project == project_id)


def _content(row: Any) -> TaskContent:
    return TaskContent(row[0], row[1], row[2], row[3] or {}, row[4] or {})


def _raise_revision(connection: sa.Connection, project_id: int) -> int:
    """Raises the project's `tasks_revision`, and returns the new value; 0 if the project does not exist. No other
    transaction gets a later revision until this one ends."""
    change = sa.update(project).where(project.c.id == project_id).values(tasks_revision=project.c.tasks_revision + 1)
    return connection.execute(change.returning(project.c.tasks_revision)).scalar_one_or_none() or 0
