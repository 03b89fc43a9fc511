"""Tasks that are neither drafted nor learnt from, because an encoder makes nothing of their texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from ml_backend.storage.database import Database, chunks
from ml_backend.storage.schema import set_aside as table

CHUNK = 500
NOT_FINITE = "vector-not-finite"
"""The code of a text whose vector holds a value that is no number, or infinite."""


class UnusableTasks:
    """The table `set_aside`: of each task the content key of its text, the encoder's space, and a code."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, space: str, code: str, keys: Mapping[int, bytes]) -> None:
        """Notes some tasks, by number, with the content keys of their texts."""
        rows = [
            {"project": project, "task": task, "key": key, "space": space, "code": code} for task, key in keys.items()
        ]
        if rows:
            with self._database.begin() as connection:
                connection.execute(self._database.upsert(table), rows)

    def of(self, project: int, space: str) -> dict[int, bytes]:
        """The tasks that were set aside in a space, with the content keys of the texts that were the reason."""
        query = sa.select(table.c.task, table.c.key).where(table.c.project == project, table.c.space == space)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def codes(self, project: int) -> dict[int, str]:
        """Every task that was set aside, in ascending order, and why."""
        query = sa.select(table.c.task, table.c.code).where(table.c.project == project).order_by(table.c.task)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def remove(self, project: int, tasks: Collection[int]) -> None:
        """Takes some tasks back: their texts are others now, or gone."""
        for chunk in chunks(tasks, CHUNK):
            with self._database.begin() as connection:
                connection.execute(sa.delete(table).where(table.c.project == project, table.c.task.in_(chunk)))

    def remove_other_spaces(self, project: int, space: str) -> None:
        """Takes back what another encoder could make nothing of."""
        gone = sa.delete(table).where(table.c.project == project, table.c.space != space)
        if len(self.codes(project)) > len(self.of(project, space)):  # mostly not: without taking a writer's turn
            with self._database.begin() as connection:
                connection.execute(gone)
