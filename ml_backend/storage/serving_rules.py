"""The settings of each Label Studio project that decide how often its tasks are served."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import labelling_rules as table


class ServingRules:
    """The table `labelling_rules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: int) -> tuple[str, int]:
        """Returns Label Studio's setting for skipped tasks (REQUEUE_FOR_ME, REQUEUE_FOR_OTHERS, IGNORE_SKIPPED, or ""
        if it is unknown), and the number of annotators for each task."""
        query = sa.select(table.c.skip_queue, table.c.overlap).where(table.c.project == project)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return (row[0], row[1]) if row else ("", 1)

    def put(self, project: int, skip_queue: str, overlap: int) -> None:
        """Stores the settings if they have changed."""
        if (skip_queue, overlap) != self.get(project):
            row = {"project": project, "skip_queue": skip_queue[:100], "overlap": overlap}
            with self._database.begin() as connection:
                connection.execute(self._database.upsert(table), [row])
