"""Synchronisation with Label Studio, and the progress of reading and encoding."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import progress
from ml_backend.storage.schema import synchronisation as table

_RECONCILING = -1.0  # value of `reconciled_at` during a reconciliation; one that fails leaves it, and is repeated


class Synchronisation:
    """The table `synchronisation`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_counts(self, project: int, counts: Mapping[str, int]) -> None:
        """Stores Label Studio's own counts, which an event has reported."""
        self._database.write(self._database.put(table, {"project": project, **counts}))

    def request_reconciliation(self, project: int) -> None:
        """Requests another reconciliation, even if one is under way."""
        self._database.write(self._database.put(table, {"project": project, "reconciled_at": 0.0}))

    def begin_reconciliation(self, project: int) -> None:
        """Marks a reconciliation as begun."""
        self._database.write(self._database.put(table, {"project": project, "reconciled_at": _RECONCILING}))

    def end_reconciliation(self, project: int) -> None:
        """Marks the reconciliation as complete, unless another one was requested since it began."""
        change = sa.update(table).where(table.c.project == project, table.c.reconciled_at == _RECONCILING)
        self._database.write(change.values(reconciled_at=self._database.clock.now()))

    def record_reconciliation(self, project: int, counts: Mapping[str, int], watermark: str, read_under: str) -> None:
        """Stores the result of a reconciliation.

        counts      of tasks, annotations and skips; stored as if Label Studio had sent them
        watermark   newest `updated_at` that was read
        read_under  fields of the label configuration with which the tasks were read
        """
        row = {"project": project, "watermark": watermark, "read_under": read_under, **counts}
        self._database.write(self._database.put(table, row))


class Progress:
    """The table `progress`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_read(self, project: int, tasks: int | None) -> None:
        """Stores the number of tasks that were listed so far; None: no listing is under way."""
        self._database.write(self._database.put(progress, {"project": project, "read": tasks}))

    def set_encoded(self, project: int, worker: str, encoded: int, tasks: int) -> None:
        """Stores how many of a pool's tasks a worker has encoded."""
        row = {"project": project, "worker": worker, "encoded": encoded, "tasks": tasks, "read": None}
        self._database.write(self._database.put(progress, row))
