"""Which draft last stood on each task of the published queue: what the annotator agreed with, or did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ml_backend.domain import Prediction
from ml_backend.store.database import Database
from ml_backend.store.schema import shown as table


@dataclass(frozen=True, slots=True)
class Shown:
    """The last draft that was published for one task. `author` is None, and `choices` empty, where there was none."""

    task: int
    version: str
    place: int
    author: str | None
    choices: tuple[str, ...]
    confidence: float | None


class Showings:
    """The table `shown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, version: str, queue: Sequence[Prediction]) -> None:
        """Notes the queue of a version. A task that is in none of the later queues keeps what it had."""
        with self._database.begin() as connection:
            put(connection, self._database, project, version, queue)

    def of(self, project: int, version: str | None = None) -> list[Shown]:
        """Of one version, in the order of its queue, or of all."""
        query = sa.select(*[table.c[name] for name in Shown.__dataclass_fields__]).where(table.c.project == project)
        if version is not None:
            query = query.where(table.c.version == version)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.place)).mappings().all()
        return [Shown(**{**row, "choices": tuple(row["choices"])}) for row in rows]

    def forget(self, project: int) -> None:
        with self._database.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.project == project))


def put(connection: sa.Connection, database: Database, project: int, version: str, queue: Sequence[Prediction]) -> None:
    """As `Showings.put`, in a transaction of the caller."""
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
        connection.execute(database.upsert(table), rows)
