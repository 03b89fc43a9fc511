"""How Label Studio hands out the tasks of each project, as far as it decides what is still to come."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend.store.database import Database
from ml_backend.store.schema import labelling_rules as table


class LabellingRules:
    """The table `labelling_rules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def skip_queue(self, project: int) -> str:
        """Where skipped tasks go: REQUEUE_FOR_ME, REQUEUE_FOR_OTHERS or IGNORE_SKIPPED; "" if that is unknown."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.skip_queue).where(table.c.project == project)).scalar() or ""

    def put(self, project: int, skip_queue: str) -> None:
        """Keeps what Label Studio says; writes nothing if that is known."""
        if skip_queue != self.skip_queue(project):
            with self._database.begin() as connection:
                connection.execute(self._database.upsert(table), [{"project": project, "skip_queue": skip_queue[:100]}])
