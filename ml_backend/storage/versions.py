"""Model versions, the rounds that made them, and the audit sample by which their accuracy is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend.core.exceptions import LeaseLostError
from ml_backend.core.types import ControlVersion, Estimate, ModelVersion, Remark
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.jobs import Lease, check_lease
from ml_backend.storage.schema import audit, has_own_fit, is_active, is_stale, round_
from ml_backend.storage.schema import version as table

MAX_ROUNDS = 1000
TASKS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One finished round. `stages` maps a stage to its duration in seconds; times are seconds since the epoch."""

    version: str | None
    started_at: float
    finished_at: float
    stages: dict[str, float]
    error: str | None = None


class Versions:
    """The tables `version`, `round` and `audit`."""

    def __init__(self, database: Database, max_rounds: int = MAX_ROUNDS) -> None:
        """max_rounds: number of finished rounds that are kept of a project"""
        self._database = database
        self._max_rounds = max_rounds

    def next_number(self, project: int) -> int:
        query = sa.select(sa.func.coalesce(sa.func.max(table.c.number), 0)).where(table.c.project == project)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one()) + 1

    def add(
        self, version: ModelVersion, artifact: tuple[str, str] | None, rows: int, lease: Lease | None = None
    ) -> None:
        """Inserts a version that is not active yet. Raises LeaseLostError if another worker has claimed the project, or
        has inserted a version with this number, which is never overwritten.

        artifact  file name and SHA-256 of its own fit, if it has one
        rows      number of predictions that are about to be written to Label Studio. It is stored first, so that the
                  predictions are removed later even if this process ends while it writes them
        lease     the lease under which the version was made
        """
        name, digest = artifact or (None, None)
        row = {**asdict(version), "artifact": name, "sha256": digest}
        with self._database.begin() as connection:
            check_lease(connection, lease)
            insert = self._database.insert_or_ignore(table).values({**row, "active": False, "rows": rows})
            if connection.execute(insert.returning(table.c.number)).first() is None:
                raise LeaseLostError(
                    f"version {version.number} of project {version.project} was inserted by another worker"
                )

    def activate(self, project: int, number: int, lease: Lease | None = None) -> None:
        """Makes one version the only active one. Raises LeaseLostError if another worker has claimed the project."""
        with self._database.begin() as connection:
            check_lease(connection, lease)
            activate(connection, project, number)

    def set_rows(self, project: int, number: int, rows: int) -> None:
        change = sa.update(table).where(table.c.project == project).where(table.c.number == number).values(rows=rows)
        with self._database.begin() as connection:
            connection.execute(change)

    def active(self, project: int) -> ModelVersion | None:
        versions = self._select(project, is_active)
        return versions[0] if versions else None

    def get(self, project: int, number: int) -> ModelVersion | None:
        versions = self._select(project, table.c.number == number)
        return versions[0] if versions else None

    def named(self, project: int, name: str) -> ModelVersion | None:
        versions = self._select(project, table.c.name == name)
        return versions[0] if versions else None

    def all(self, project: int, most: int | None = None) -> list[ModelVersion]:
        """Returns the versions of a project, newest first, at most `most`."""
        return self._select(project, sa.true(), most)

    def artifact(self, project: int, number: int) -> tuple[str, str] | None:
        """Returns file name and SHA-256 of a version's own fit; None if it has none, or if the artifact was removed."""
        query = sa.select(table.c.artifact, table.c.sha256).where(table.c.project == project, table.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return (row[0], row[1]) if row and row[0] else None

    def learners(self, project: int) -> list[int]:
        """Returns the numbers of the versions whose own fit is stored, newest first."""
        query = (
            sa.select(table.c.number)
            .where(table.c.project == project)
            .where(has_own_fit)
            .order_by(table.c.number.desc())
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def drop_artifact(self, project: int, number: int) -> None:
        change = sa.update(table).where(table.c.project == project).where(table.c.number == number)
        with self._database.begin() as connection:
            connection.execute(change.values(artifact=None, sha256=None))

    def stale(self, project: int) -> list[tuple[int, str, int]]:
        """Returns number, name and rows of inactive versions that have predictions in Label Studio, oldest first."""
        query = (
            sa.select(table.c.number, table.c.name, table.c.rows)
            .where(table.c.project == project)
            .where(is_stale)
            .order_by(table.c.number)
        )
        with self._database.read() as connection:
            return [tuple(row) for row in connection.execute(query).all()]

    def _select(self, project: int, condition: sa.ColumnElement[bool], most: int | None = None) -> list[ModelVersion]:
        columns = [table.c[name] for name in ModelVersion.__dataclass_fields__]
        query = sa.select(*columns).where(table.c.project == project).where(condition)
        query = query.order_by(table.c.number.desc()).limit(most)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            ModelVersion(
                **{
                    **row,
                    "controls": {name: _control_version(stored) for name, stored in row["controls"].items()},
                    "remarks": tuple(Remark(**remark) for remark in row["remarks"]),
                }
            )
            for row in rows
        ]

    def record_round(self, project: int, round_row: RoundRow) -> None:
        """Stores a finished round, and removes the oldest rounds beyond `max_rounds`."""
        with self._database.begin() as connection:
            connection.execute(sa.insert(round_).values(project=project, **asdict(round_row)))
            ids = sa.select(round_.c.id).where(round_.c.project == project).order_by(round_.c.id.desc())
            last_removed = connection.execute(ids.offset(self._max_rounds).limit(1)).scalar()
            if last_removed is not None:
                delete = sa.delete(round_).where(round_.c.project == project).where(round_.c.id <= last_removed)
                connection.execute(delete)

    def last_rounds(self, project: int, limit: int = 1, *, failed: bool | None = None) -> list[RoundRow]:
        """Returns the last rounds, newest first. failed: only rounds with (True) or without (False) an error"""
        query = sa.select(*[round_.c[name] for name in RoundRow.__dataclass_fields__])
        query = query.where(round_.c.project == project).order_by(round_.c.id.desc()).limit(limit)
        if failed is not None:
            query = query.where(round_.c.error.is_not(None) if failed else round_.c.error.is_(None))
        with self._database.read() as connection:
            return [RoundRow(**row) for row in connection.execute(query).mappings().all()]

    def audited(self, project: int) -> list[int]:
        """Returns the tasks of the audit sample, in the order in which they were drawn."""
        query = sa.select(audit.c.task).where(audit.c.project == project).order_by(audit.c.drawn_at, audit.c.task)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def audited_among(self, project: int, tasks: Iterable[int]) -> set[int]:
        """Returns those of the tasks that are in the audit sample."""
        audited: set[int] = set()
        for chunk in chunks(tasks, TASKS_PER_QUERY):
            query = sa.select(audit.c.task).where(audit.c.project == project, audit.c.task.in_(chunk))
            with self._database.read() as connection:
                audited.update(connection.execute(query).scalars())
        return audited

    def draw_audit(self, project: int, tasks: Iterable[int]) -> None:
        """Adds tasks to the audit sample. A task that is in it keeps its time of drawing."""
        rows = [{"project": project, "task": task, "drawn_at": self._database.clock.now()} for task in tasks]
        if rows:
            with self._database.begin() as connection:
                connection.execute(self._database.insert_or_ignore(audit), rows)


def _control_version(stored: dict[str, Any]) -> ControlVersion:
    return ControlVersion(**{**stored, "accuracy": Estimate(**stored["accuracy"]) if stored["accuracy"] else None})


def activate(connection: sa.Connection, project: int, number: int) -> None:
    """Makes one version the only active one, in the transaction of `connection`."""
    of_project = table.c.project == project
    connection.execute(sa.update(table).where(of_project, is_active).values(active=False))
    connection.execute(sa.update(table).where(of_project, table.c.number == number).values(active=True))
