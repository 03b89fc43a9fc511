"""Published drafts: the last draft that annotators were shown for each task, to compare with their annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ml_backend.core.types import Draft, Prediction
from ml_backend.storage import revisions
from ml_backend.storage.columns import label_value
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.schema import NO_VERSION
from ml_backend.storage.schema import shown as table

TASKS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class PublishedDraft:
    """The drafts that were last published for one task, by control, without their explanations; none if the task was
    published without a draft. `place` is the position in the queue, from 0."""

    task: int
    version: str
    place: int
    drafts: Mapping[str, Draft]


class PublishedDrafts:
    """The table `shown`. Each changed row gets the next revision of its project, as annotations do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, version: str, queue: Sequence[Prediction]) -> None:
        """Stores the drafts of a version's queue. The rows of tasks that are not in the queue stay as they are."""
        with self._database.begin() as connection:
            put(connection, self._database, project, version, queue)

    def of(self, project: int, version: str | None = None) -> list[PublishedDraft]:
        """Returns the drafts whose version is this one, in the order of its queue; None: of all versions."""
        return self._select(project, table.c.version != NO_VERSION if version is None else table.c.version == version)

    def of_tasks(self, project: int, tasks: Iterable[int]) -> list[PublishedDraft]:
        """Returns the last published drafts of these tasks."""
        is_not_removed = table.c.version != NO_VERSION
        return [
            draft
            for chunk in chunks(tasks, TASKS_PER_QUERY)
            for draft in self._select(project, sa.and_(table.c.task.in_(chunk), is_not_removed))
        ]

    def changed_since(self, project: int, revision: int) -> set[int]:
        """Returns the tasks that were published, or removed, after a revision (see `Annotations.revision`)."""
        query = sa.select(table.c.task).where(table.c.project == project, table.c.revision > revision)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def _select(self, project: int, condition: sa.ColumnElement[bool]) -> list[PublishedDraft]:
        query = sa.select(*[table.c[name] for name in PublishedDraft.__dataclass_fields__]).where(
            table.c.project == project
        )
        with self._database.read() as connection:
            rows = connection.execute(query.where(condition).order_by(table.c.place)).mappings().all()
        return [PublishedDraft(**{**row, "drafts": _drafts(row["drafts"])}) for row in rows]


def _drafts(stored: dict[str, Any]) -> dict[str, Draft]:
    return {control: Draft(**{**draft, "value": label_value(draft["value"])}) for control, draft in stored.items()}


def put(connection: sa.Connection, database: Database, project: int, version: str, queue: Sequence[Prediction]) -> None:
    """Does the same as `PublishedDrafts.put`, in the transaction of `connection`."""
    rows = [
        {
            "project": project, "task": prediction.task, "version": version, "place": place,
            "drafts": {
                control: {"value": draft.value, "confidence": draft.confidence, "author": draft.author}
                for control, draft in prediction.drafts.items()
            },
        }
        for place, prediction in enumerate(queue)
    ]  # fmt: skip
    if rows:
        revision = revisions.lock(connection, database, project)
        revision = replace(revision, number=revision.number + 1)
        connection.execute(database.upsert(table), [{**row, "revision": revision.number} for row in rows])
        revisions.save(connection, project, revision)
