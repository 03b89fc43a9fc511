"""What a round leaves for those who only read: the numbers of a project, and how its teacher is confused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend.storage.database import Database, now
from ml_backend.storage.jobs import Lease, check_lease
from ml_backend.storage.schema import confusion as confusion_table
from ml_backend.storage.schema import stats as table


@dataclass(frozen=True, slots=True)
class Confusion:
    """What the annotators say given what a teacher says: `matrix` as `teaching.reliability.confusion` has it, in the
    columns of `labels`."""

    teacher: str
    labels: tuple[str, ...]
    multiple: bool
    matrix: npt.NDArray[np.float64]


class Stats:
    """The tables `stats` and `confusion`: a row of each for a project, written whole by whoever holds its lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(
        self, project: int, basis: str, document: dict[str, Any], confusion: Confusion | None,
        lease: Lease | None = None,
    ) -> None:  # fmt: skip
        """Replaces what the round before has left. basis: a digest of what it was computed from. Raises LeaseLostError
        if another worker has taken the project over."""
        row = {"project": project, "basis": basis, "made_at": now(), "document": document}
        gone = sa.delete(confusion_table).where(confusion_table.c.project == project)
        with self._database.begin() as connection:
            check_lease(connection, lease)
            connection.execute(self._database.upsert(table), [row])
            connection.execute(gone)
            if confusion is not None:
                values = {
                    "project": project, "teacher": confusion.teacher, "labels": list(confusion.labels),
                    "multiple": confusion.multiple, "matrix": np.ascontiguousarray(confusion.matrix, "<f8").tobytes(),
                }  # fmt: skip
                connection.execute(sa.insert(confusion_table), [values])

    def basis(self, project: int) -> str:
        """What the numbers were computed from, "" if there are none yet."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.basis).where(table.c.project == project)).scalar() or ""

    def document(self, project: int) -> dict[str, Any]:
        """The numbers, {} before the first round; `project_stats` says what they are."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.document).where(table.c.project == project)).scalar() or {}

    def confusion(self, project: int) -> Confusion | None:
        query = sa.select(confusion_table).where(confusion_table.c.project == project)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        matrix = np.frombuffer(row.matrix, "<f8").reshape(len(row.labels), -1)
        return Confusion(row.teacher, tuple(row.labels), row.multiple, matrix)
