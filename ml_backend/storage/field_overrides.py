"""Field overrides: the types and descriptions that people have given the fields of a project's records."""

from __future__ import annotations

from typing import Any

from ml_backend.storage.database import Database
from ml_backend.storage.quote_erasure import without_deleted
from ml_backend.storage.schema import field_override as table


class FieldOverrides:
    """The table `field_override`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, fields: dict[str, Any]) -> None:
        """Stores the overrides of all fields by name in place of any other, without texts of deleted tasks."""
        with self._database.begin() as connection:
            [row] = without_deleted(connection, table, project, [{"project": project, "fields": fields}])
            connection.execute(self._database.put(table, row))
