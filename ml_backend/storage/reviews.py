"""Label review: annotations that are proposed for a second look, and annotations that were reviewed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import review_proposal as proposals
from ml_backend.storage.schema import reviewed_annotation as reviewed


@dataclass(frozen=True, slots=True)
class Proposal:
    """The proposal to review an annotation, which was last changed at `updated_at`. `prediction` is the id of the
    prediction in Label Studio that makes the proposal; `controls` are the names of those that it has labels for, () if
    an earlier release made it."""

    task: int
    prediction: int
    annotation: int
    updated_at: str
    proposed_at: float
    controls: tuple[str, ...]


class Reviews:
    """The tables `review_proposal` and `reviewed_annotation`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def proposals(self, project: int) -> dict[int, Proposal]:
        """Returns the open proposals, by task."""
        query = sa.select(*[proposals.c[name] for name in Proposal.__dataclass_fields__])
        with self._database.read() as connection:
            rows = connection.execute(query.where(proposals.c.project == project)).mappings().all()
        return {row["task"]: Proposal(**{**row, "controls": tuple(row["controls"])}) for row in rows}

    def reviewed(self, project: int) -> dict[int, str]:
        """Returns the reviewed annotations: id -> its `updated_at` before the review."""
        query = sa.select(reviewed.c.annotation, reviewed.c.updated_at).where(reviewed.c.project == project)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def propose(self, project: int, proposal: Proposal) -> None:
        row = {"project": project, **{name: getattr(proposal, name) for name in Proposal.__dataclass_fields__}}
        self._database.write(self._database.put(proposals, row))

    def withdraw(self, project: int, task: int) -> None:
        """Removes the proposal for a task."""
        self._database.write(sa.delete(proposals).where(proposals.c.project == project, proposals.c.task == task))

    def mark_reviewed(self, project: int, annotation: int, updated_at: str) -> None:
        """Marks an annotation as reviewed. The mark holds as long as the annotation has this `updated_at`."""
        row = {"project": project, "annotation": annotation, "updated_at": updated_at}
        self._database.write(self._database.put(reviewed, row))

    def forget(self, project: int) -> None:
        with self._database.begin() as connection:
            for table in (proposals, reviewed):
                connection.execute(sa.delete(table).where(table.c.project == project))
