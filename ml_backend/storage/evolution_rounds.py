"""The rounds of `apprentice evolve`: a row each, which the one command that runs on a project writes alone."""

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

TRIES = 25
"""How often the lock is tried: a worker that looks whether somebody is at work holds it for a moment."""


@dataclass(frozen=True, slots=True)
class EvolutionRow:
    """One round. `way`, `teacher`, `done` as in `teaching.written.Round`, whose other fields are the `body`."""

    number: int
    way: str
    teacher: str
    done: bool
    body: Mapping[str, Any]


class EvolutionRounds:
    """The table `evolution_round`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def alone(self, project: int) -> Iterator[None]:
        """Nobody else adds rounds to the project meanwhile. Raises StoreError if somebody is at it."""
        with locked(self._database, EVOLUTION, project, TRIES) as free:
            if not free:
                raise StoreError(
                    f"Another `apprentice evolve` is at work on project {project}: wait until it has ended, or stop it"
                )
            yield

    def rounds(self, project: int, **only: object) -> list[EvolutionRow]:
        """In the order in which they were begun; `only`: those whose columns have these values."""
        return self._rounds(project, *(table.c[name] == value for name, value in only.items()))

    def rounds_from(self, project: int, number: int, others: Collection[int] = ()) -> list[EvolutionRow]:
        """The rounds from a number on, and some `others`, in the order in which they were begun."""
        return self._rounds(project, sa.or_(table.c.number >= number, table.c.number.in_(others)))

    def _rounds(self, project: int, *conditions: sa.ColumnElement[bool]) -> list[EvolutionRow]:
        query = sa.select(*(table.c[name] for name in EvolutionRow.__dataclass_fields__))
        query = query.where(table.c.project == project, *conditions).order_by(table.c.number)
        with self._database.read() as connection:
            return [EvolutionRow(**row) for row in connection.execute(query).mappings()]

    def finished(self, project: int) -> int:
        """How many rounds have come to their end."""
        query = sa.select(sa.func.count()).where(table.c.project == project, table.c.done)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def keep(self, project: int, row: EvolutionRow) -> None:
        """Inserts a round, or brings its own row up to date; without texts that were deleted since it read them."""
        with self._database.begin() as connection:
            rows = without_deleted(connection, table, project, [{**asdict(row), "project": project}])
            connection.execute(self._database.upsert(table), rows)
