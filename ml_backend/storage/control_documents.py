"""Tables with one JSON document for each control of a project, which is always written as a whole."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.quote_erasure import without_deleted


class ControlDocuments:
    """A table with three columns, the project, the control and the document. A document is stored without texts of
    deleted tasks."""

    def __init__(self, database: Database, table: sa.Table) -> None:
        self._database = database
        self._table = table
        _, _, self._document = table.columns

    def put(self, project: int, control: str, document: dict[str, Any]) -> None:
        """Stores a document in place of any other."""
        with self._database.begin() as connection:
            connection.execute(self._database.put(self._table, self._row(connection, project, control, document)))

    def add(self, project: int, control: str, document: dict[str, Any]) -> bool:
        """Stores a document if the control has none, and returns whether it did."""
        with self._database.begin() as connection:
            insert = self._database.insert_or_ignore(self._table).values(
                self._row(connection, project, control, document)
            )
            return connection.execute(insert.returning(self._table.c.project)).first() is not None

    def replace(self, project: int, control: str, before: dict[str, Any] | None, document: dict[str, Any]) -> bool:
        """Stores a document if the stored one is still `before` (None: there is none), and returns whether it did."""
        if before is None:
            return self.add(project, control, document)
        with self._database.begin() as connection:
            row = self._row(connection, project, control, document)
            of_control = sa.and_(self._table.c.project == project, self._table.c.control == control)
            if connection.execute(sa.select(self._document).where(of_control).with_for_update()).scalar() != before:
                return False
            connection.execute(sa.update(self._table).where(of_control).values(row))
            return True

    def keep(self, project: int, controls: Collection[str]) -> None:
        """Deletes the rows of all other controls of a project."""
        table = self._table
        self._database.write(sa.delete(table).where(table.c.project == project, table.c.control.not_in(controls)))

    def _row(self, connection: sa.Connection, project: int, control: str, document: dict[str, Any]) -> dict[str, Any]:
        """Returns the row to be written, without texts of tasks that were deleted since the document was made."""
        row = {"project": project, "control": control, self._document.name: document}
        [cleaned] = without_deleted(connection, self._table, project, [row])
        return dict(cleaned)
