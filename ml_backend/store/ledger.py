"""The ledger: every call to the teacher, what it was for and what it cost, whatever came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.asking import Answer
from ml_backend.store.database import Database, chunks, now
from ml_backend.store.schema import call as table

CHUNK = 500
COLUMNS = (
    "made_at", "purpose", "teacher", "model", "outcome", "seconds", "input_tokens", "output_tokens", "cost", "question",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spent:
    """What some calls amounted to; `cost` in the unit of the prices."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0


_SUMS = [
    sa.func.count(),
    *(sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in list(Spent.__dataclass_fields__)[1:]),
]


class Ledger:
    """The table `call`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(self, project: int, answer: Answer, purpose: str, teacher: str, costs: Sequence[float]) -> None:
        """The calls of a question that goes on waiting, for nobody answered."""
        with self._database.begin() as connection:
            enter(connection, project, answer, purpose, teacher, costs)

    def spent(self, project: int, since: float = 0.0) -> dict[str, Spent]:
        """The calls from a moment on, by purpose; "" is all of them together."""
        query = (
            sa.select(table.c.purpose, *_SUMS)
            .where(table.c.project == project, table.c.made_at >= since)
            .group_by(table.c.purpose)
        )
        with self._database.read() as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        found = {row[0]: Spent(*row[1:]) for row in rows}
        found[""] = Spent(*map(sum, zip(*(row[1:] for row in rows), strict=True)))
        return found

    def spent_on(self, project: int, questions: Iterable[str]) -> Spent:
        """All calls for some questions, by their ids."""
        rows: list[tuple[Any, ...]] = []
        for chunk in chunks(questions, CHUNK):
            query = sa.select(*_SUMS).where(table.c.project == project, table.c.question.in_(chunk))
            with self._database.read() as connection:
                rows += [tuple(row) for row in connection.execute(query)]
        return Spent(*map(sum, zip(*rows, strict=True)))

    def outcomes(self, project: int) -> dict[str, Counter[str]]:
        """How many calls had each outcome, by purpose; "" is all of them together."""
        what = (table.c.purpose, table.c.outcome)
        query = sa.select(*what, sa.func.count()).where(table.c.project == project).group_by(*what)
        found: dict[str, Counter[str]] = {"": Counter()}
        with self._database.read() as connection:
            for purpose, outcome, n in connection.execute(query):
                found.setdefault(purpose, Counter())[outcome] = n
                found[""][outcome] += n
        return found

    def calls(self, project: int) -> Iterator[dict[str, Any]]:
        """Every call, oldest first, by the names of COLUMNS; `made_at` in UTC as ISO text."""
        query = sa.select(*(table.c[name] for name in COLUMNS)).where(table.c.project == project).order_by(table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            yield {**row, "made_at": datetime.fromtimestamp(row["made_at"], UTC).isoformat(timespec="milliseconds")}


def enter(
    connection: sa.Connection, project: int, answer: Answer, purpose: str, teacher: str, costs: Sequence[float]
) -> None:
    """Writes the calls of an answer, each with its cost, into a transaction of the caller."""
    rows = [
        {
            **asdict(call), "project": project, "question": answer.question, "purpose": purpose, "teacher": teacher,
            "made_at": now(), "cost": cost,
        }
        for call, cost in zip(answer.calls, costs, strict=True)
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(table), rows)
