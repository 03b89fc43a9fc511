"""Which draft last stood on each task of the published queue: what the annotator agreed with, or did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from ml_backend.core.types import Prediction
from ml_backend.storage import revisions
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.schema import NO_VERSION
from ml_backend.storage.schema import shown as table

CHUNK = 500


@dataclass(frozen=True, slots=True)
class PublishedDraft:
    """The last draft that was published for one task. `author` is None, and `choices` empty, where there was none."""

    task: int
    version: str
    place: int
    author: str | None
    choices: tuple[str, ...]
    confidence: float | None


class PublishedDrafts:
    """The table `shown`. Each changed row gets the next revision of its project, as annotations do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, version: str, queue: Sequence[Prediction]) -> None:
        """Notes the queue of a version. A task that is in none of the later queues keeps what it had."""
        with self._database.begin() as connection:
            put(connection, self._database, project, version, queue)

    def of(self, project: int, version: str | None = None) -> list[PublishedDraft]:
        """Of one version, in the order of its queue, or of all."""
        return self._select(project, table.c.version != NO_VERSION if version is None else table.c.version == version)

    def of_tasks(self, project: int, tasks: Iterable[int]) -> list[PublishedDraft]:
        """What was last shown of some tasks."""
        standing = table.c.version != NO_VERSION
        return [
            shown
            for chunk in chunks(tasks, CHUNK)
            for shown in self._select(project, sa.and_(table.c.task.in_(chunk), standing))
        ]

    def changed_since(self, project: int, revision: int) -> set[int]:
        """The tasks that have been shown with another draft, or removed, after a revision: see `Labels.revision`."""
        query = sa.select(table.c.task).where(table.c.project == project, table.c.revision > revision)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def _select(self, project: int, condition: sa.ColumnElement[bool]) -> list[PublishedDraft]:
        query = sa.select(*[table.c[name] for name in PublishedDraft.__dataclass_fields__]).where(
            table.c.project == project
        )
        with self._database.read() as connection:
            rows = connection.execute(query.where(condition).order_by(table.c.place)).mappings().all()
        return [PublishedDraft(**{**row, "choices": tuple(row["choices"])}) for row in rows]


def put(connection: sa.Connection, database: Database, project: int, version: str, queue: Sequence[Prediction]) -> None:
    """As `PublishedDrafts.put`, in a transaction of the caller."""
    rows = [
        {
            "project": project, "task": each.task, "version": version, "place": place,
            "author": each.draft.author if each.draft else None,
            "choices": list(each.draft.choices) if each.draft else [],
            "confidence": each.draft.confidence if each.draft else None,
        }
        for place, each in enumerate(queue)
    ]  # fmt: skip
    if rows:
        revision = revisions.lock(connection, database, project)
        revision = replace(revision, number=revision.number + 1)
        connection.execute(database.upsert(table), [{**row, "revision": revision.number} for row in rows])
        revisions.save(connection, project, revision)
