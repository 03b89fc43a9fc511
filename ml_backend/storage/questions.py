"""What the teacher was asked and said: nothing is asked twice, and what waits can be answered days later.

A question, its answer and the calls that it took are written in one transaction: a process that is killed loses no
reply but those that were on their way, and counts no call twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
import sqlalchemy as sa

from ml_backend.core.teacher_types import Answer, Purpose, Question
from ml_backend.storage.database import Database, chunks, now
from ml_backend.storage.deleted_texts import LABEL_KEYS
from ml_backend.storage.ledger import enter
from ml_backend.storage.quote_erasure import without_deleted
from ml_backend.storage.replies import Replies, Reply, ReplyTable, given
from ml_backend.storage.schema import project as projects
from ml_backend.storage.schema import question as table

CHUNK = 500
GIVEN_UP_SECONDS = 60.0
"""Whoever took a question and has neither answered nor renewed it since is taken for dead: others may take it."""
Choose = Callable[[list[Question], list[str]], list[str]]
"""Which of some questions, by their ids, are to be asked beside those that are being asked."""


class Questions:
    """The table `question`."""

    def __init__(self, database: Database, clock: Callable[[], float] | None = None) -> None:
        """`clock`: tells the time in place of the database's."""
        self._database = database
        self._now: Callable[[], Any] = clock or database.now
        self._replies = Replies(database)

    def want(self, project: int, teacher: str, questions: Iterable[tuple[Question, bytes | None]]) -> None:
        """Puts questions, each with the content key of the task that it is about, on the list; known ones stay. What is
        about a deleted task is left out, and what quotes one is wanted without it."""
        moment = now()
        rows = [
            {
                "project": project, "id": each.id, "teacher": teacher, "purpose": each.purpose, "key": key,
                "body": asdict(each), "state": "waiting", "wanted_at": moment, "asked_at": 0.0, "problem": "",
                "alone": not each.examples,
            }
            for each, key in questions
        ]  # fmt: skip
        rows.sort(key=lambda row: str(row["id"]))  # two who lock rows in another order may wait for each other
        for chunk in chunks(rows, CHUNK):
            with self._database.begin() as connection:
                if allowed := without_deleted(connection, table, project, chunk):
                    connection.execute(self._database.insert_or_ignore(table), allowed)

    def take(self, project: int, teacher: str, ids: Sequence[str], choose: Choose | None = None) -> list[str]:
        """Those of some questions that wait, now marked as being asked, so that no other process asks them.

        `choose`: which of them, else all; two processes never choose at once, so each sees what the other has taken.
        """
        taken: list[str] = []
        for chunk in chunks(ids, CHUNK):
            with self._database.begin() as connection:
                connection.execute(sa.select(projects.c.id).where(projects.c.id == project).with_for_update())
                moment = self._now()
                waiting = sa.and_(table.c.project == project, table.c.state == "waiting")
                held = table.c.asked_at >= moment - GIVEN_UP_SECONDS
                mine = sa.and_(waiting, ~held, table.c.teacher == teacher, table.c.id.in_(chunk))
                found = set(connection.execute(sa.select(table.c.id).where(mine)).scalars())
                free = [each for each in chunk if each in found]
                if choose and free:
                    under_way = connection.execute(sa.select(table.c.body).where(waiting, held)).scalars()
                    free = choose([_question(body) for body in under_way], free)
                mark = sa.update(table).where(table.c.project == project, table.c.id.in_(free))
                connection.execute(mark.values(asked_at=moment))
            taken += free
        return taken

    def renew(self, project: int, ids: Iterable[str]) -> None:
        """Questions that were taken are being asked still."""
        self._mark(project, ids, self._now())

    def give_back(self, project: int, ids: Iterable[str]) -> None:
        """Questions that were taken and not asked may be taken by others at once."""
        self._mark(project, ids, 0.0)

    def _mark(self, project: int, ids: Iterable[str], asked_at: Any) -> None:
        for chunk in chunks(ids, CHUNK):
            mark = sa.update(table).where(table.c.project == project, table.c.state == "waiting", table.c.id.in_(chunk))
            with self._database.begin() as connection:
                connection.execute(mark.values(asked_at=asked_at))

    def waiting(self, project: int, teacher: str | None = None) -> list[Question]:
        """All that waits for an answer, of one teacher or of any, in the order in which it was wanted."""
        whose = sa.true() if teacher is None else table.c.teacher == teacher
        return self._questions(table.c.project == project, table.c.state == "waiting", whose)

    def number_waiting(self, project: int, teacher: str) -> int:
        """How many questions wait for an answer of a teacher."""
        query = sa.select(sa.func.count()).where(
            table.c.project == project, table.c.teacher == teacher, table.c.purpose.in_(get_args(Purpose)),
            table.c.state == "waiting",
        )  # fmt: skip
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def all(self, project: int) -> list[Question]:
        """Whatever was asked, in the order in which it was wanted."""
        return self._questions(table.c.project == project)

    def those(self, project: int, ids: Sequence[str]) -> list[Question]:
        """Some that were asked, by their ids, in that order; unknown ones are left out."""
        found = [
            each
            for chunk in chunks(ids, CHUNK)
            for each in self._questions(table.c.project == project, table.c.id.in_(chunk))
        ]
        return sorted(found, key=lambda each: ids.index(each.id))

    def _questions(self, *conditions: sa.ColumnElement[bool]) -> list[Question]:
        query = sa.select(table.c.body).where(*conditions).order_by(table.c.wanted_at, table.c.id)
        with self._database.read() as connection:
            return [_question(body) for body in connection.execute(query).scalars()]

    def record(self, project: int, answer: Answer, costs: Sequence[float]) -> bool:
        """Keeps an answer and its calls, each with its cost. A question whose answer has no content is dropped: it is
        not asked again, but an answer of use that comes later is taken.

        False if the question was answered already, whose calls are entered all the same, or if it is unknown.
        """
        this = sa.and_(table.c.project == project, table.c.id == answer.question)
        query = sa.select(table.c.purpose, table.c.teacher, table.c.body, table.c.state).where(this).with_for_update()
        content = answer.content
        with self._database.begin() as connection:
            if content is not None and content.keys() - LABEL_KEYS:
                [cleaned] = without_deleted(connection, table, project, [{"content": content}])
                content = cleaned["content"]
            row = connection.execute(query).first()
            if row is None:
                return False
            purpose, teacher, body, state = row
            enter(self._database, connection, project, answer, purpose, teacher, costs)
            if state == "answered" or (state == "dropped" and answer.content is None):
                return False
            shares = None
            if answer.shares is not None:
                shares = {label: round(float(p), 6) for label, p in zip(body["labels"], answer.shares, strict=True)}
            values = {
                "state": "dropped" if answer.content is None else "answered", "answered_at": now(),
                "content": content, "shares": shares, "problem": answer.problem,
            }  # fmt: skip
            connection.execute(sa.update(table).where(this).values(values))
        return True

    def answers(self, project: int, ids: Sequence[str]) -> dict[str, Answer]:
        """What is known of some questions: those that were answered or dropped."""
        found: dict[str, Answer] = {}
        for chunk in chunks(ids, CHUNK):
            query = sa.select(table.c.id, table.c.body, table.c.content, table.c.shares, table.c.problem).where(
                table.c.project == project, table.c.state != "waiting", table.c.id.in_(chunk)
            )
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            for number, body, content, shares, problem in rows:
                array = None if shares is None else np.array([shares[label] for label in body["labels"]], np.float32)
                found[number] = Answer(number, content, array, problem=problem)
        return found

    def given(self, project: int, teacher: str) -> ReplyTable:
        """Every label that this teacher has given, from memory but for what is new."""
        return self._replies.of(project, teacher)

    def replies(self, project: int, teacher: str, keys: Collection[bytes]) -> list[Reply]:
        """The labels that this teacher has given of tasks with these content keys, the oldest first of each."""
        # sorted here: asked to sort, SQLite would read all of the teacher's answers in the order of another index
        query = sa.select(table.c.answered_at, table.c.id, table.c.key, table.c.shares, table.c.alone).where(
            given(project, teacher), table.c.shares.is_not(None)
        )
        rows: list[sa.Row[Any]] = []
        with self._database.read() as connection:
            for chunk in chunks(keys, CHUNK):
                rows += connection.execute(query.where(table.c.key.in_(chunk)))
        return [
            Reply(row.key, row.shares, row.alone) for row in sorted(rows, key=lambda row: (row.answered_at, row.id))
        ]

    def keys_waiting(self, project: int, teacher: str, labels: tuple[str, ...], multiple: bool) -> set[bytes]:
        """The content keys of the tasks whose label, out of these, this teacher is still to give."""
        query = sa.select(table.c.key, table.c.body).where(
            table.c.project == project, table.c.teacher == teacher, table.c.purpose == "label",
            table.c.state == "waiting", table.c.key.is_not(None),
        )  # fmt: skip
        with self._database.read() as connection:
            waiting = [(key, _question(body)) for key, body in connection.execute(query)]
        return {key for key, asked in waiting if (asked.labels, asked.multiple) == (labels, multiple)}

    def counts(self, project: int, teacher: str) -> dict[tuple[str, str], int]:
        """How many questions there are of each (purpose, state)."""
        query = (
            sa.select(table.c.purpose, table.c.state, sa.func.count())
            .where(table.c.project == project, table.c.teacher == teacher)
            .group_by(table.c.purpose, table.c.state)
        )
        with self._database.read() as connection:
            return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}


def _question(body: Mapping[str, Any]) -> Question:
    pairs = tuple((str(text), str(reply)) for text, reply in body["examples"])
    return Question(**{**body, "examples": pairs, "labels": tuple(body["labels"])})
