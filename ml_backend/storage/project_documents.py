"""Tables with one JSON document for each project, which is always written as a whole."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.quote_erasure import without_deleted


class ProjectDocuments:
    """A table with two columns, the project and the document. A document is stored without texts of deleted tasks."""

    def __init__(self, database: Database, table: sa.Table) -> None:
        self._database = database
        self._table = table
        _, self._document = table.columns

    def put(self, project: int, document: dict[str, Any]) -> None:
        """Stores a document in place of any other."""
        with self._database.begin() as connection:
            connection.execute(self._database.put(self._table, self._row(connection, project, document)))

    def add(self, project: int, document: dict[str, Any]) -> bool:
        """Stores a document if the project has none, and returns whether it did."""
        with self._database.begin() as connection:
            insert = self._database.insert_or_ignore(self._table).values(self._row(connection, project, document))
            return connection.execute(insert.returning(self._table.c.project)).first() is not None

    def replace(self, project: int, before: dict[str, Any] | None, document: dict[str, Any]) -> bool:
        """Stores a document if the stored one is still `before` (None: there is none), and returns whether it did."""
        if before is None:
            return self.add(project, document)
        with self._database.begin() as connection:
            row, of_project = self._row(connection, project, document), self._table.c.project == project
            if connection.execute(sa.select(self._document).where(of_project).with_for_update()).scalar() != before:
                return False
            connection.execute(sa.update(self._table).where(of_project).values(row))
            return True

    def _row(self, connection: sa.Connection, project: int, document: dict[str, Any]) -> dict[str, Any]:
        """Returns the row to be written, without texts of tasks that were deleted since the document was made."""
        row = {"project": project, self._document.name: document}
        [cleaned] = without_deleted(connection, self._table, project, [row])
        return dict(cleaned)
