"""The tasks of each project: number, content hash, text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from ml_backend.core.types import NO_TEXT, SYNTHETIC, Example, Ints, Mask
from ml_backend.storage.annotations import Annotations
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.erasure import erase_tasks
from ml_backend.storage.schema import annotation, project
from ml_backend.storage.schema import task as table

CHUNK = 2000
REMOVED_AT_ONCE = 500  # tasks of one transaction


class Tasks:
    """The table `task`. Every change raises the project's `tasks_revision`: a reader knows when to look again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project_id: int, examples: Iterable[Example], *, only_new: bool = False) -> int:
        """Adds tasks and, unless `only_new`, changes known ones; returns how many really changed."""
        changed = 0
        for chunk in chunks({example.task: example for example in examples}.values(), CHUNK):
            if only_new and self._has_all(project_id, [example.task for example in chunk]):
                continue  # as with most events: without taking the turn of a writer
            with self._database.begin() as connection:
                if only_new:
                    changed += self._add(connection, project_id, chunk)
                    continue
                query = (
                    sa.select(table.c.id, table.c.key, table.c.fields)
                    .where(table.c.project == project_id)
                    .where(table.c.id.in_([example.task for example in chunk]))
                )
                known = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
                rows = [
                    _row(project_id, example)
                    for example in chunk
                    if known.get(example.task) != (example.key, example.fields)
                ]
                if rows:
                    revision = _revise(connection, project_id)
                    connection.execute(self._database.upsert(table), [{**row, "revision": revision} for row in rows])
                    changed += len(rows)
        return changed

    def _add(self, connection: sa.Connection, project_id: int, examples: Sequence[Example]) -> int:
        """Adds those tasks that are not there when the database comes to write them; returns how many."""
        revision = _revise(connection, project_id)
        rows = [{**_row(project_id, example), "revision": revision} for example in examples]
        insert = self._database.insert_or_ignore(table).values(rows).returning(table.c.id)
        return len(connection.execute(insert).all())

    def _has_all(self, project_id: int, tasks: list[int]) -> bool:
        query = sa.select(sa.func.count()).where(table.c.project == project_id).where(table.c.id.in_(tasks))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one()) == len(tasks)

    def remove(self, project_id: int, tasks: Iterable[int]) -> int:
        """Forgets tasks, with their annotations and all that is about them; returns how many there were. What quotes
        them is looked for by a worker: see `quotes`."""
        removed = 0
        for chunk in chunks(set(tasks), REMOVED_AT_ONCE):
            annotated = sa.select(annotation.c.id).where(
                annotation.c.project == project_id, annotation.c.task.in_(chunk), ~annotation.c.deleted
            )
            with self._database.read() as connection:
                annotations = list(connection.execute(annotated).scalars())
            Annotations(self._database).delete(project_id, annotations)
            with self._database.begin() as connection:
                # first, as in `put`: two that lock rows in another order may wait for each other for ever
                connection.execute(sa.select(project.c.id).where(project.c.id == project_id).with_for_update())
                count = erase_tasks(self._database, connection, project_id, chunk)
                if count:
                    _revise(connection, project_id)
                removed += count
        return removed

    def count(self, project_id: int) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.project == project_id)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def index(self, project_id: int) -> tuple[Ints, list[bytes]]:
        """All task numbers in ascending order, (n,) int64, and their content keys."""
        query = sa.select(table.c.id, table.c.key).where(table.c.project == project_id).order_by(table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return np.fromiter((row[0] for row in rows), np.int64, len(rows)), [row[1] for row in rows]

    def changed(self, project_id: int, since: int) -> tuple[Ints, list[bytes], Mask]:
        """The tasks that have come or changed after a revision, (n,) int64 ascending, their content keys, and which of
        them a teacher has written: they may be learnt from and never judged by."""
        written = table.c.fields[SYNTHETIC].as_string().is_not(None)
        query = (
            sa.select(table.c.id, table.c.key, written)
            .where(table.c.project == project_id, table.c.revision > since)
            .order_by(table.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        ids = np.array([row[0] for row in rows], np.int64)
        return ids, [row[1] for row in rows], np.array([row[2] for row in rows], np.bool_)

    def numbers(self, project_id: int) -> Ints:
        """All task numbers in ascending order, (n,) int64."""
        query = sa.select(table.c.id).where(table.c.project == project_id).order_by(table.c.id)
        with self._database.read() as connection:
            return np.array(connection.execute(query).scalars().all(), np.int64)

    def values(self, project_id: int, field: str, tasks: Sequence[int]) -> dict[int, str]:
        """A field's value of each of some tasks that has it."""
        found: dict[int, str] = {}
        for chunk in chunks(tasks, CHUNK):
            query = (
                sa.select(table.c.id, table.c.fields).where(table.c.project == project_id).where(table.c.id.in_(chunk))
            )
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            found.update((row[0], row[1][field]) for row in rows if row[1] and field in row[1])
        return found

    def without_text(self, project_id: int) -> Ints:
        """The tasks that have no text, or no record, (m,) int64 ascending: nothing can be said or learnt of them."""
        query = sa.select(table.c.id).where(table.c.project == project_id, table.c.key == NO_TEXT).order_by(table.c.id)
        with self._database.read() as connection:
            return np.array(connection.execute(query).scalars().all(), np.int64)

    def examples(self, project_id: int, most: int, *, with_text: bool) -> list[Example]:
        """The first tasks that have a text, or that have none."""
        has_text = table.c.key != NO_TEXT if with_text else table.c.key == NO_TEXT
        query = sa.select(table.c.id, table.c.text, table.c.key, table.c.fields).where(table.c.project == project_id)
        with self._database.read() as connection:
            rows = connection.execute(query.where(has_text).order_by(table.c.id).limit(most)).all()
        return [Example(row[0], row[1], row[2], row[3] or {}) for row in rows]

    def texts(self, project_id: int, tasks: Sequence[int]) -> list[str]:
        """The texts of some tasks, in the order asked for; "" for one that is gone."""
        found: dict[int, str] = {}
        for chunk in chunks(tasks, CHUNK):
            query = (
                sa.select(table.c.id, table.c.text).where(table.c.project == project_id).where(table.c.id.in_(chunk))
            )
            with self._database.read() as connection:
                found.update((row[0], row[1]) for row in connection.execute(query))
        return [found.get(task, "") for task in tasks]


def _row(project_id: int, example: Example) -> dict[str, Any]:
    return {
        "project": project_id, "id": example.task, "key": example.key, "text": example.text, "fields": example.fields,
    }  # fmt: skip


def _revise(connection: sa.Connection, project_id: int) -> int:
    """The new revision of the project's tasks. Until the end of the transaction, no other one gets a later one."""
    raised = sa.update(project).where(project.c.id == project_id).values(tasks_revision=project.c.tasks_revision + 1)
    return connection.execute(raised.returning(project.c.tasks_revision)).scalar_one_or_none() or 0
