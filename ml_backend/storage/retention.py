"""Retention: which rows and artifacts the store keeps, and for how long.

learners   the artifacts of `keep_versions` versions, half of them the latest ones (see `worker.maintenance`), of the
           serving version, and of a version that a rollback holds. Each has 12.9 MB with 20,000 tasks and 77 labels
version    the latest `MAX_VERSIONS`, for `apprentice versions`. An older one stays as long as it has an artifact or
           rows in Label Studio, serves, or is held. The newest always stays, so that no number is used twice
round      the latest thousand of a project, for `status` (`Versions.record_round`)
audit      every task of the audit sample, from which accuracy is measured; at most 5 % of the tasks
shown      the last published draft of each task, by which the drafts of the teacher and the learner are judged
annotation one row for each annotation; a deleted one stays as a tombstone, because events may arrive out of order
question   every question to the teacher, so that none is paid for twice; a deleted task takes its questions with it
call       the ledger: every call to the teacher, without texts. Budgets are computed from it
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import version as table

MAX_VERSIONS = 1000
ROWS_PER_TRANSACTION = 500


@dataclass(frozen=True, slots=True)
class StoredLearner:
    """A version whose own fit is stored: the file of its `artifact`, and the number of labelled tasks it was fitted
    on."""

    number: int
    labelled: int
    artifact: str


class Retention:
    """The rows of the table `version` that may be removed, and their artifacts."""

    def __init__(self, database: Database, max_versions: int = MAX_VERSIONS) -> None:
        self._database = database
        self._max_versions = max_versions

    def learners(self, project: int) -> list[StoredLearner]:
        """Returns the versions whose own fit is stored, newest first."""
        query = (
            sa.select(table.c.number, table.c.labelled, table.c.artifact)
            .where(table.c.project == project, table.c.artifact.is_not(None))
            .order_by(table.c.number.desc())
        )
        with self._database.read() as connection:
            return [StoredLearner(*row) for row in connection.execute(query)]

    def remove_old_versions(self, project: int, needed: Collection[int]) -> int:
        """Removes up to `ROWS_PER_TRANSACTION` versions, and returns their number.

        A version is removed if it is older than the latest `max_versions`, is not active, has neither an artifact nor
        rows in Label Studio, and its number is not in `needed`.
        """
        newest = sa.select(sa.func.max(table.c.number)).where(table.c.project == project).scalar_subquery()
        old = (
            sa.select(table.c.number)
            .where(table.c.project == project, table.c.number <= newest - self._max_versions)
            .where(table.c.artifact.is_(None), table.c.rows == 0, ~table.c.active, table.c.number.not_in(needed))
            .order_by(table.c.number)
            .limit(ROWS_PER_TRANSACTION)
        )
        with self._database.read() as connection:
            numbers = list(connection.execute(old).scalars())
        if not numbers:  # the usual case, which needs no write lock
            return 0
        with self._database.begin() as connection:
            delete = sa.delete(table).where(table.c.project == project, table.c.number.in_(numbers))
            return connection.execute(delete.where(~table.c.active, table.c.rows == 0)).rowcount
