"""Distillations: the artifact of the learner that was fitted on teacher labels alone, and its provenance."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import distillation as table


class Distillations:
    """The table `distillation`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(
        self, project: int, control: str, before: int, artifact: tuple[str, str], made_of: dict[str, Any]
    ) -> bool:
        """Stores an artifact (file name and SHA-256) for a control in place of the one with the number `before` (0:
        there is none), under the next number. Returns False, and changes nothing, if another worker has stored one
        since."""
        file, sha256 = artifact
        row = {"file": file, "sha256": sha256, "made_of": made_of, "number": before + 1}
        with self._database.begin() as connection:
            if before == 0:
                insert = self._database.insert_or_ignore(table).values({"project": project, "control": control, **row})
                if connection.execute(insert.returning(table.c.project)).first() is not None:
                    return True
            change = sa.update(table).where(
                table.c.project == project, table.c.control == control, table.c.number == before
            )
            return connection.execute(change.values(row)).rowcount == 1

    def keep(self, project: int, controls: Collection[str]) -> None:
        """Deletes the rows of all other controls of a project."""
        self._database.write(sa.delete(table).where(table.c.project == project, table.c.control.not_in(controls)))
