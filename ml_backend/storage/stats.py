"""Stats: the numbers of a project and the reliability of its teacher, which each round stores for its readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from safetensors.numpy import load, save

from ml_backend.storage.database import Database
from ml_backend.storage.jobs import Lease, check_lease
from ml_backend.storage.schema import confusion as confusion_table
from ml_backend.storage.schema import stats as table

VALUES = "values"
"""The name of the tensor in the column `matrix`."""


@dataclass(frozen=True, slots=True)
class StoredReliability:
    """The `Kind.reliability` of a teacher for a control.

    properties  those of the control on which a fit depends, see `kinds.lookup.fit_properties`
    values      in the shape of the kind
    """

    teacher: str
    properties: Mapping[str, Any]
    values: npt.NDArray[np.float64]


class Stats:
    """The tables `stats` and `confusion`. The owner of the lease replaces their rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(
        self, project: int, inputs_digest: str, document: dict[str, Any],
        reliabilities: Mapping[str, StoredReliability], lease: Lease | None = None,
    ) -> None:  # fmt: skip
        """Replaces the rows of the previous round. Raises LeaseLostError if another worker has claimed the project.

        inputs_digest  digest of the inputs of the numbers
        document       the numbers
        reliabilities  that of the teacher for each control that has one, by the name of the control
        """
        row = {"project": project, "basis": inputs_digest, "made_at": self._database.clock.now(), "document": document}
        delete = sa.delete(confusion_table).where(confusion_table.c.project == project)
        with self._database.begin() as connection:
            check_lease(connection, lease)
            connection.execute(self._database.upsert(table), [row])
            connection.execute(delete)
            for control, reliability in reliabilities.items():
                values = {
                    "project": project, "control": control, "teacher": reliability.teacher,
                    "properties": reliability.properties,
                    "matrix": save({VALUES: np.array(reliability.values, "<f8", order="C")}),
                }  # fmt: skip
                connection.execute(sa.insert(confusion_table), [values])

    def inputs_digest(self, project: int) -> str:
        """Returns the digest of the inputs of the numbers, "" before the first round."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.basis).where(table.c.project == project)).scalar() or ""

    def document(self, project: int) -> dict[str, Any]:
        """Returns the numbers, {} before the first round; see `monitoring.project_stats`."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.document).where(table.c.project == project)).scalar() or {}

    def reliability(self, project: int, control: str) -> StoredReliability | None:
        """Returns the reliability of the teacher for a control; None if there is none."""
        of_control = sa.and_(confusion_table.c.project == project, confusion_table.c.control == control)
        query = sa.select(confusion_table).where(of_control)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return StoredReliability(row.teacher, row.properties, load(row.matrix)[VALUES])
