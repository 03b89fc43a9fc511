"""The rounds of `apprentice evolve`, one row for each round. At most one such command runs on a project."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend.core.exceptions import StoreError
from ml_backend.storage.database import Database
from ml_backend.storage.locks import EVOLUTION, locked
from ml_backend.storage.quote_erasure import without_deleted
from ml_backend.storage.schema import evolution_round as table

LOCK_TRIES = 25
"""Several tries, because a worker that checks whether the command is running holds the lock for a moment."""


@dataclass(frozen=True, slots=True)
class EvolutionRow:
    """One round. `control`, `way`, `teacher` and `done` are those of
    `teacher.evolution.generated_texts.EvolutionRound`; its other fields are in `body`."""

    number: int
    control: str
    way: str
    teacher: str
    done: bool
    body: Mapping[str, Any]


class EvolutionRounds:
    """The table `evolution_round`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def lock(self, project: int) -> Iterator[None]:
        """Holds the lock on the project's rounds. Raises StoreError if another process holds it."""
        with locked(self._database, EVOLUTION, project, LOCK_TRIES) as is_held:
            if not is_held:
                raise StoreError(
                    f"Another `apprentice evolve` is running on project {project}: wait until it has ended, or stop it"
                )
            yield

    def rounds(self, project: int, **filters: object) -> list[EvolutionRow]:
        """Returns a project's rounds in the order in which they began. filters: column name -> required value"""
        return self._rounds(project, *(table.c[name] == value for name, value in filters.items()))

    def rounds_from(self, project: int, number: int, others: Collection[int] = ()) -> list[EvolutionRow]:
        """Returns the rounds from `number` on, and those with the numbers `others`, in the order in which they
        began."""
        return self._rounds(project, sa.or_(table.c.number >= number, table.c.number.in_(others)))

    def _rounds(self, project: int, *conditions: sa.ColumnElement[bool]) -> list[EvolutionRow]:
        query = sa.select(*(table.c[name] for name in EvolutionRow.__dataclass_fields__))
        query = query.where(table.c.project == project, *conditions).order_by(table.c.number)
        with self._database.read() as connection:
            return [EvolutionRow(**row) for row in connection.execute(query).mappings()]

    def finished(self, project: int) -> int:
        """Returns the number of rounds that have ended."""
        query = sa.select(sa.func.count()).where(table.c.project == project, table.c.done)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def save(self, project: int, row: EvolutionRow) -> None:
        """Inserts or updates a round, without the texts of tasks that were deleted since the round read them."""
        with self._database.begin() as connection:
            rows = without_deleted(connection, table, project, [{**asdict(row), "project": project}])
            connection.execute(self._database.upsert(table), rows)
