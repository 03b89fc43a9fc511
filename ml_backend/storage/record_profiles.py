"""The profiles that encoders of records are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.quote_erasure import without_deleted
from ml_backend.storage.schema import record_profile as table


class RecordProfiles:
    """The table `record_profile`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, profile: Mapping[str, Any]) -> None:
        """Keeps a profile; its names are those of the columns."""
        with self._database.begin() as connection:
            [row] = without_deleted(connection, table, project, [{"project": project, **profile}])
            connection.execute(self._database.put(table, row))

    def see(self, project: int, tasks_revision: int) -> None:
        """The profile fits the tasks of this revision."""
        self._database.write(sa.update(table).where(table.c.project == project).values(seen=tasks_revision))

    def forget(self, project: int) -> None:
        self._database.write(sa.delete(table).where(table.c.project == project))
