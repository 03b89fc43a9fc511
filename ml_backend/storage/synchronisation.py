"""How far the store is in step with Label Studio, and how far reading and encoding have come."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from ml_backend.storage.database import Database, now
from ml_backend.storage.schema import progress
from ml_backend.storage.schema import synchronisation as table

_LOOKING = -1.0  # in `reconciled_at`: a look that fails leaves it, and is repeated


class Synchronisation:
    """The table `synchronisation`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hear(self, project: int, counts: Mapping[str, int]) -> None:
        """Label Studio's own counts, as an event tells them."""
        self._database.write(self._database.put(table, {"project": project, **counts}))

    def look_again(self, project: int) -> None:
        """Label Studio is asked at the next opportunity, also if it is being asked now."""
        self._database.write(self._database.put(table, {"project": project, "reconciled_at": 0.0}))

    def begin_look(self, project: int) -> None:
        """A look at Label Studio begins."""
        self._database.write(self._database.put(table, {"project": project, "reconciled_at": _LOOKING}))

    def end_look(self, project: int) -> None:
        """The look has seen everything, unless another one was wanted since it began."""
        undisturbed = sa.update(table).where(table.c.project == project, table.c.reconciled_at == _LOOKING)
        self._database.write(undisturbed.values(reconciled_at=now()))

    def note(self, project: int, counts: Mapping[str, int], watermark: str, read_under: str) -> None:
        """What a look has read: up to which `updated_at`, and under which fields of the configuration."""
        row = {"project": project, "watermark": watermark, "read_under": read_under, **counts}
        self._database.write(self._database.put(table, row))


class Progress:
    """The table `progress`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, project: int, tasks: int | None) -> None:
        """How many tasks are listed so far; None: no listing is under way."""
        self._database.write(self._database.put(progress, {"project": project, "read": tasks}))

    def encoded(self, project: int, worker: str, encoded: int, tasks: int) -> None:
        """How many of a pool's tasks a worker has encoded."""
        row = {"project": project, "worker": worker, "encoded": encoded, "tasks": tasks, "read": None}
        self._database.write(self._database.put(progress, row))
