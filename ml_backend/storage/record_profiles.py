"""Record profiles: the field types of a table task, from which its encoder is built."""

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
        """Stores the given columns of a profile, without texts of deleted tasks."""
        with self._database.begin() as connection:
            [row] = without_deleted(connection, table, project, [{"project": project, **profile}])
            connection.execute(self._database.put(table, row))

    def set_compared_revision(self, project: int, tasks_revision: int) -> None:
        """Stores the revision of the tasks that the profile was compared with."""
        self._database.write(sa.update(table).where(table.c.project == project).values(seen=tasks_revision))

    def forget(self, project: int) -> None:
        self._database.write(sa.delete(table).where(table.c.project == project))
