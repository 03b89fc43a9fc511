"""What is kept of the past, and for how long.

learners   the artifacts of the latest `keep_versions`, and those that serve or are held: 12.9 MB each at 20,000 x 77
version    the latest `VERSIONS_KEPT`, for `apprentice versions`; an older one as long as it has an artifact or rows in
           Label Studio, serves or is held. The newest always stays, so that no number is given twice
round      the latest thousand of a project, for `status` (`Versions.record_round`)
audit      every task that was drawn: they are what accuracy is measured by, 5 % of the tasks at most
shown      what stood on the screen of each task, one row a task: what a teacher's and a learner's drafts are judged by
annotation one row an annotation; a deleted one stays as a tombstone, as events come out of order
question   every question to the teacher, so that none is paid for twice; those about a deleted task go with it
call       the ledger: every call to the teacher, without texts. It is an account, and budgets are reckoned by it
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import version as table

VERSIONS_KEPT = 1000
REMOVED_AT_ONCE = 500  # rows of one transaction


@dataclass(frozen=True, slots=True)
class KeptLearner:
    """A version whose own fit is kept: the `artifact`'s file, and how many answers it was fitted on."""

    number: int
    labelled: int
    artifact: str


class Retention:
    """Of the table `version`: what could go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def learners(self, project: int) -> list[KeptLearner]:
        """The versions whose own fit is kept, newest first."""
        query = (
            sa.select(table.c.number, table.c.labelled, table.c.artifact)
            .where(table.c.project == project, table.c.artifact.is_not(None))
            .order_by(table.c.number.desc())
        )
        with self._database.read() as connection:
            return [KeptLearner(*row) for row in connection.execute(query)]

    def remove_old_versions(self, project: int, needed: Collection[int]) -> int:
        """Removes up to `REMOVED_AT_ONCE` of the versions before the latest `VERSIONS_KEPT` that hold nothing and are
        not among the `needed` numbers; returns how many."""
        newest = sa.select(sa.func.max(table.c.number)).where(table.c.project == project).scalar_subquery()
        old = (
            sa.select(table.c.number)
            .where(table.c.project == project, table.c.number <= newest - VERSIONS_KEPT)
            .where(table.c.artifact.is_(None), table.c.rows == 0, ~table.c.active, table.c.number.not_in(needed))
            .order_by(table.c.number)
            .limit(REMOVED_AT_ONCE)
        )
        with self._database.read() as connection:
            numbers = list(connection.execute(old).scalars())
        if not numbers:  # as after most rounds: without taking the turn of a writer
            return 0
        with self._database.begin() as connection:
            gone = sa.delete(table).where(table.c.project == project, table.c.number.in_(numbers))
            return connection.execute(gone.where(~table.c.active, table.c.rows == 0)).rowcount
