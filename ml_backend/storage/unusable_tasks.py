"""Unusable tasks: tasks that are neither drafted nor learnt from, because an encoder cannot encode their texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from ml_backend.storage.database import Database, chunks
from ml_backend.storage.schema import set_aside as table

TASKS_PER_TRANSACTION = 500
NOT_FINITE = "vector-not-finite"
"""The code for a text whose vector has a value that is NaN or infinite."""


class UnusableTasks:
    """The table `set_aside`: the task, the content key of its text, the encoder's feature space, and a code that says
    why the task is unusable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, space: str, code: str, keys: Mapping[int, bytes]) -> None:
        """Adds tasks. keys: task -> content key of its text"""
        rows = [
            {"project": project, "task": task, "key": key, "space": space, "code": code} for task, key in keys.items()
        ]
        if rows:
            with self._database.begin() as connection:
                connection.execute(self._database.upsert(table), rows)

    def of(self, project: int, space: str) -> dict[int, bytes]:
        """Returns the unusable tasks of a feature space: task -> content key of the text that cannot be encoded."""
        query = sa.select(table.c.task, table.c.key).where(table.c.project == project, table.c.space == space)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def codes(self, project: int) -> dict[int, str]:
        """Returns all unusable tasks of a project in ascending order: task -> code."""
        query = sa.select(table.c.task, table.c.code).where(table.c.project == project).order_by(table.c.task)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def remove(self, project: int, tasks: Collection[int]) -> None:
        """Removes tasks from the table, because their texts have changed or were deleted."""
        for chunk in chunks(tasks, TASKS_PER_TRANSACTION):
            with self._database.begin() as connection:
                connection.execute(sa.delete(table).where(table.c.project == project, table.c.task.in_(chunk)))

    def remove_other_spaces(self, project: int, space: str) -> None:
        """Removes tasks that were unusable in other feature spaces."""
        delete = sa.delete(table).where(table.c.project == project, table.c.space != space)
        if len(self.codes(project)) > len(self.of(project, space)):  # rarely true; otherwise no write lock is needed
            with self._database.begin() as connection:
                connection.execute(delete)
