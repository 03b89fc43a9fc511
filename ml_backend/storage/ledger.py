"""The ledger: every call to the teacher, with its purpose, its cost and its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.core.teacher_types import Answer
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.schema import call as table
from ml_backend.storage.schema import ledger_total

QUESTIONS_PER_QUERY = 500
SECONDS_PER_DAY = 86_400
COLUMNS = (
    "made_at", "purpose", "teacher", "model", "outcome", "seconds", "input_tokens", "output_tokens", "cost", "question",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spending:
    """Sums over calls; `cost` has the unit of the prices in the settings."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AnsweredCalls:
    """The calls for one question.

    answer   the answer with its calls
    purpose  the purpose of the question
    teacher  the name of the teacher
    costs    the cost of each call
    """

    answer: Answer
    purpose: str
    teacher: str
    costs: Sequence[float]


_FIELDS = list(Spending.__dataclass_fields__)
_SUMS = [sa.func.count(), *(sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in _FIELDS[1:])]
_TOTALS = [sa.func.sum(ledger_total.c[name]) for name in _FIELDS]


class Ledger:
    """The table `call`, and its totals by day, purpose and outcome in `ledger_total`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_calls(self, project: int, answered: AnsweredCalls) -> None:
        """Adds the calls for a question that got no answer, and so stays unanswered."""
        with self._database.begin() as connection:
            add_calls(self._database, connection, project, answered)

    def spent(self, project: int, since: float = 0.0) -> dict[str, Spending]:
        """Sums the calls from a moment on (seconds since the epoch), by purpose; the key "" has the sum of them all.

        Whole days (UTC) are read from the totals, and single calls only for the part of a day at the beginning.
        """
        day, seconds_of_day = divmod(since, SECONDS_PER_DAY)
        purpose, total = table.c.purpose, ledger_total.c
        whole_days = (
            sa.select(total.purpose, *_TOTALS)
            .where(total.project == project, total.day >= int(day) + (seconds_of_day > 0))
            .group_by(total.purpose)
        )
        parts: dict[str, list[Spending]] = {}
        with self._database.read() as connection:
            rows = connection.execute(whole_days).all()
            if seconds_of_day:
                until = (day + 1) * SECONDS_PER_DAY
                first_day = sa.select(purpose, *_SUMS).where(
                    table.c.project == project, table.c.made_at >= since, table.c.made_at < until
                )
                rows = [*rows, *connection.execute(first_day.group_by(purpose))]
        for name, *sums in rows:
            parts.setdefault(name, []).append(_spending(sums))
        by_purpose = {name: _sum(spendings) for name, spendings in parts.items()}
        return {**by_purpose, "": _sum(list(by_purpose.values()))}

    def spent_on(self, project: int, questions: Iterable[str]) -> Spending:
        """Sums all calls for the questions with these ids."""
        parts: list[Spending] = []
        for chunk in chunks(questions, QUESTIONS_PER_QUERY):
            query = sa.select(*_SUMS).where(table.c.project == project, table.c.question.in_(chunk))
            with self._database.read() as connection:
                parts += [_spending(row) for row in connection.execute(query)]
        return _sum(parts)

    def outcomes(self, project: int) -> dict[str, Counter[str]]:
        """Counts the calls with each outcome, by purpose; the key "" has the counts of all purposes."""
        total = ledger_total.c
        keys = (total.purpose, total.outcome)
        query = sa.select(*keys, sa.func.sum(total.calls)).where(total.project == project).group_by(*keys)
        counts: dict[str, Counter[str]] = {"": Counter()}
        with self._database.read() as connection:
            for purpose, outcome, n in connection.execute(query):
                counts.setdefault(purpose, Counter())[outcome] = int(n)
                counts[""][outcome] += int(n)
        return counts

    def calls(self, project: int) -> Iterator[dict[str, Any]]:
        """Yields every call, oldest first, with the keys `COLUMNS`; `made_at` is ISO text in UTC."""
        query = sa.select(*(table.c[name] for name in COLUMNS)).where(table.c.project == project).order_by(table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            yield {**row, "made_at": datetime.fromtimestamp(row["made_at"], UTC).isoformat(timespec="milliseconds")}


def add_calls(database: Database, connection: sa.Connection, project: int, answered: AnsweredCalls) -> None:
    """Does the same as `Ledger.add_calls`, in the transaction of `connection`."""
    made_at, answer, purpose = database.clock.now(), answered.answer, answered.purpose
    if not answer.calls:
        return
    rows = [
        {
            **asdict(call), "project": project, "question": answer.question, "purpose": purpose,
            "teacher": answered.teacher, "made_at": made_at, "cost": cost,
        }
        for call, cost in zip(answer.calls, answered.costs, strict=True)
    ]  # fmt: skip
    connection.execute(sa.insert(table), rows)
    keys = {"project": project, "day": int(made_at // SECONDS_PER_DAY), "purpose": purpose}
    for outcome in sorted({row["outcome"] for row in rows}):  # sorted, so that two transactions cannot deadlock
        matching = [row for row in rows if row["outcome"] == outcome]
        sums = {name: sum(row[name] for row in matching) for name in _FIELDS[1:]}
        total = {**keys, "outcome": outcome, "calls": len(matching), **sums}
        connection.execute(database.add(ledger_total, _FIELDS), total)


def _spending(sums: Iterable[Any]) -> Spending:
    calls, input_tokens, output_tokens, cost, seconds = sums
    return Spending(int(calls), int(input_tokens), int(output_tokens), float(cost), float(seconds))


def _sum(parts: Sequence[Spending]) -> Spending:
    return Spending(*(sum(getattr(part, name) for part in parts) for name in _FIELDS)) if parts else Spending()
