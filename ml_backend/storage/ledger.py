"""The ledger: every call to the teacher, what it was for and what it cost, whatever came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.core.teacher_types import Answer
from ml_backend.storage.database import Database, chunks, now
from ml_backend.storage.schema import call as table
from ml_backend.storage.schema import ledger_total

CHUNK = 500
SECONDS_A_DAY = 86_400
COLUMNS = (
    "made_at", "purpose", "teacher", "model", "outcome", "seconds", "input_tokens", "output_tokens", "cost", "question",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spending:
    """What some calls amounted to; `cost` in the unit of the prices."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0


_NAMES = list(Spending.__dataclass_fields__)
_SUMS = [sa.func.count(), *(sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in _NAMES[1:])]
_TOTALS = [sa.func.sum(ledger_total.c[name]) for name in _NAMES]


class Ledger:
    """The table `call`, and its totals by day, purpose and outcome in `ledger_total`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(self, project: int, answer: Answer, purpose: str, teacher: str, costs: Sequence[float]) -> None:
        """The calls of a question that goes on waiting, for nobody answered."""
        with self._database.begin() as connection:
            enter(self._database, connection, project, answer, purpose, teacher, costs)

    def spent(self, project: int, since: float = 0.0) -> dict[str, Spending]:
        """The calls from a moment on, by purpose; "" is all of them together. From the totals, but for the part of a
        day that a moment other than midnight (UTC) begins with."""
        day, into = divmod(since, SECONDS_A_DAY)
        purpose, total = table.c.purpose, ledger_total.c
        whole_days = (
            sa.select(total.purpose, *_TOTALS)
            .where(total.project == project, total.day >= int(day) + (into > 0))
            .group_by(total.purpose)
        )
        found: dict[str, list[Spending]] = {}
        with self._database.read() as connection:
            rows = connection.execute(whole_days).all()
            if into:
                until = (day + 1) * SECONDS_A_DAY
                part = sa.select(purpose, *_SUMS).where(
                    table.c.project == project, table.c.made_at >= since, table.c.made_at < until
                )
                rows = [*rows, *connection.execute(part.group_by(purpose))]
        for name, *figures in rows:
            found.setdefault(name, []).append(_spent(figures))
        by_purpose = {name: _sum(parts) for name, parts in found.items()}
        return {**by_purpose, "": _sum(list(by_purpose.values()))}

    def spent_on(self, project: int, questions: Iterable[str]) -> Spending:
        """All calls for some questions, by their ids."""
        parts: list[Spending] = []
        for chunk in chunks(questions, CHUNK):
            query = sa.select(*_SUMS).where(table.c.project == project, table.c.question.in_(chunk))
            with self._database.read() as connection:
                parts += [_spent(row) for row in connection.execute(query)]
        return _sum(parts)

    def outcomes(self, project: int) -> dict[str, Counter[str]]:
        """How many calls had each outcome, by purpose; "" is all of them together."""
        total = ledger_total.c
        what = (total.purpose, total.outcome)
        query = sa.select(*what, sa.func.sum(total.calls)).where(total.project == project).group_by(*what)
        found: dict[str, Counter[str]] = {"": Counter()}
        with self._database.read() as connection:
            for purpose, outcome, n in connection.execute(query):
                found.setdefault(purpose, Counter())[outcome] = int(n)
                found[""][outcome] += int(n)
        return found

    def calls(self, project: int) -> Iterator[dict[str, Any]]:
        """Every call, oldest first, by the names of COLUMNS; `made_at` in UTC as ISO text."""
        query = sa.select(*(table.c[name] for name in COLUMNS)).where(table.c.project == project).order_by(table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            yield {**row, "made_at": datetime.fromtimestamp(row["made_at"], UTC).isoformat(timespec="milliseconds")}


def enter(
    database: Database, connection: sa.Connection, project: int, answer: Answer, purpose: str, teacher: str,
    costs: Sequence[float],
) -> None:  # fmt: skip
    """Writes the calls of an answer, each with its cost, and what they add to the totals, into a transaction of the
    caller."""
    made_at = now()
    if not answer.calls:
        return
    rows = [
        {
            **asdict(call), "project": project, "question": answer.question, "purpose": purpose, "teacher": teacher,
            "made_at": made_at, "cost": cost,
        }
        for call, cost in zip(answer.calls, costs, strict=True)
    ]  # fmt: skip
    connection.execute(sa.insert(table), rows)
    keys = {"project": project, "day": int(made_at // SECONDS_A_DAY), "purpose": purpose}
    for outcome in sorted({row["outcome"] for row in rows}):  # in one order: two transactions never wait for each other
        mine = [row for row in rows if row["outcome"] == outcome]
        sums = {name: sum(row[name] for row in mine) for name in _NAMES[1:]}
        connection.execute(database.add(ledger_total, _NAMES), {**keys, "outcome": outcome, "calls": len(mine), **sums})


def _spent(figures: Iterable[Any]) -> Spending:
    calls, read, written, cost, seconds = figures
    return Spending(int(calls), int(read), int(written), float(cost), float(seconds))


def _sum(parts: Sequence[Spending]) -> Spending:
    return Spending(*(sum(getattr(part, name) for part in parts) for name in _NAMES)) if parts else Spending()
