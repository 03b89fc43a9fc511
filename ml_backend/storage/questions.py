"""Questions to the teacher and their answers. No question is asked twice, and one may be answered days later.

An answer and the calls for it are written in one transaction. A process that is killed loses only the replies that have
not arrived yet, and no call is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, get_args

import sqlalchemy as sa

from ml_backend.core.clock import Clock
from ml_backend.core.schema import ControlSchema
from ml_backend.core.teacher_types import Answer, Purpose, Question, ReplyFields
from ml_backend.kinds.lookup import kind_of
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.deleted_texts import LABEL_KEYS
from ml_backend.storage.ledger import AnsweredCalls, add_calls
from ml_backend.storage.question_json import body_of, question_of, shares_json, shares_of
from ml_backend.storage.quote_erasure import without_deleted
from ml_backend.storage.replies import (
    REPLY_COLUMNS,
    VALUE_COLUMNS,
    Replies,
    Reply,
    ReplyTable,
    is_teacher_label,
    reply_of,
)
from ml_backend.storage.schema import GIVEN_UP_SECONDS
from ml_backend.storage.schema import project as projects
from ml_backend.storage.schema import question as table

ROWS_PER_TRANSACTION = 500
Choose = Callable[[list[Question], list[str]], list[str]]
"""Chooses questions to ask: maps the questions that are being asked, and the ids of those that could be, to ids."""


class Questions:
    """The table `question`."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        """clock: takes the place of the database's clock"""
        self._database = database
        self._now: Callable[[], Any] = clock.now if clock else database.now
        self._replies = Replies(database)

    def add(self, project: int, teacher: str, questions: Iterable[tuple[Question, bytes | None]]) -> None:
        """Adds questions, each with the content key of its task (None: it is about no single task). Questions that are
        in the table stay as they are. Leaves out questions about deleted tasks, and removes quotes of such tasks."""
        wanted_at = self._database.clock.now()
        rows = [
            {
                "project": project, "id": question.id, "teacher": teacher, "purpose": question.purpose, "key": key,
                "body": body_of(question), "state": "waiting", "wanted_at": wanted_at, "asked_at": 0.0, "problem": "",
                "alone": not question.examples,
            }
            for question, key in questions
        ]  # fmt: skip
        rows.sort(key=lambda row: str(row["id"]))  # in one order, so that two transactions cannot deadlock
        for chunk in chunks(rows, ROWS_PER_TRANSACTION):
            with self._database.begin() as connection:
                if allowed := without_deleted(connection, table, project, chunk):
                    connection.execute(self._database.insert_or_ignore(table), allowed)

    def take(self, project: int, teacher: str, ids: Sequence[str], choose: Choose | None = None) -> list[str]:
        """Marks unanswered questions that no other process is asking as being asked, and returns their ids.

        choose  chooses among them; None: all. Two processes never choose at once, so that each sees the questions that
                the other has taken.
        """
        taken: list[str] = []
        for chunk in chunks(ids, ROWS_PER_TRANSACTION):
            with self._database.begin() as connection:
                connection.execute(sa.select(projects.c.id).where(projects.c.id == project).with_for_update())
                asked_at = self._now()
                is_waiting = sa.and_(table.c.project == project, table.c.state == "waiting")
                is_taken = table.c.asked_at >= asked_at - GIVEN_UP_SECONDS
                is_free = sa.and_(is_waiting, ~is_taken, table.c.teacher == teacher, table.c.id.in_(chunk))
                free = set(connection.execute(sa.select(table.c.id).where(is_free)).scalars())
                chosen = [question_id for question_id in chunk if question_id in free]
                if choose and chosen:
                    bodies = connection.execute(sa.select(table.c.body).where(is_waiting, is_taken)).scalars()
                    chosen = choose([question_of(body) for body in bodies], chosen)
                mark = sa.update(table).where(table.c.project == project, table.c.id.in_(chosen))
                connection.execute(mark.values(asked_at=asked_at))
            taken += chosen
        return taken

    def renew(self, project: int, ids: Iterable[str]) -> None:
        """Marks questions that were taken as still being asked."""
        self._set_asked_at(project, ids, self._now())

    def release(self, project: int, ids: Iterable[str]) -> None:
        """Gives back questions that were taken and not asked, so that another process may take them at once."""
        self._set_asked_at(project, ids, 0.0)

    def _set_asked_at(self, project: int, ids: Iterable[str], asked_at: Any) -> None:
        for chunk in chunks(ids, ROWS_PER_TRANSACTION):
            mark = sa.update(table).where(table.c.project == project, table.c.state == "waiting", table.c.id.in_(chunk))
            with self._database.begin() as connection:
                connection.execute(mark.values(asked_at=asked_at))

    def waiting(self, project: int, teacher: str | None = None) -> list[Question]:
        """Returns the unanswered questions to one teacher, or to any (None), in the order in which they were added."""
        is_of_teacher = sa.true() if teacher is None else table.c.teacher == teacher
        return self._questions(table.c.project == project, table.c.state == "waiting", is_of_teacher)

    def count_waiting(self, project: int, teacher: str) -> int:
        """Returns the number of unanswered questions to a teacher."""
        # names all purposes, so that the database can use the index `question_replies`
        query = sa.select(sa.func.count()).where(
            table.c.project == project, table.c.teacher == teacher, table.c.purpose.in_(get_args(Purpose)),
            table.c.state == "waiting",
        )  # fmt: skip
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def all(self, project: int) -> list[Question]:
        """Returns all questions of a project, in the order in which they were added."""
        return self._questions(table.c.project == project)

    def with_ids(self, project: int, ids: Sequence[str]) -> list[Question]:
        """Returns the questions with these ids, in the order of the ids, without those that do not exist."""
        questions = {
            question.id: question
            for chunk in chunks(ids, ROWS_PER_TRANSACTION)
            for question in self._questions(table.c.project == project, table.c.id.in_(chunk))
        }
        return [questions[question_id] for question_id in ids if question_id in questions]

    def _questions(self, *conditions: sa.ColumnElement[bool]) -> list[Question]:
        query = sa.select(table.c.body).where(*conditions).order_by(table.c.wanted_at, table.c.id)
        with self._database.read() as connection:
            return [question_of(body) for body in connection.execute(query).scalars()]

    def store_answer(self, project: int, answer: Answer, costs: Sequence[float]) -> bool:
        """Stores an answer, and adds its calls, with one cost for each, to the ledger.

        A question whose answer has no content is dropped: it is not asked again, but a later answer with content is
        stored. Returns False if the question was answered already or does not exist. In the first case, the calls are
        added to the ledger all the same.
        """
        is_question = sa.and_(table.c.project == project, table.c.id == answer.question)
        columns = (table.c.purpose, table.c.teacher, table.c.body, table.c.state)
        query = sa.select(*columns).where(is_question).with_for_update()
        content = answer.content
        with self._database.begin() as connection:
            if content is not None and content.keys() - LABEL_KEYS - (answer.shares or {}).keys():
                [cleaned] = without_deleted(connection, table, project, [{"content": content}])
                content = cleaned["content"]
            row = connection.execute(query).first()
            if row is None:
                return False
            purpose, teacher, body, state = row
            add_calls(self._database, connection, project, AnsweredCalls(answer, purpose, teacher, costs))
            if state == "answered" or (state == "dropped" and answer.content is None):
                return False
            shares = None if answer.shares is None else shares_json(question_of(body).fields, answer.shares)
            values = {
                "state": "dropped" if answer.content is None else "answered", "answered_at": self._database.clock.now(),
                "content": content, "shares": shares, "problem": answer.problem,
            }  # fmt: skip
            connection.execute(sa.update(table).where(is_question).values(values))
        return True

    def answers(self, project: int, ids: Sequence[str]) -> dict[str, Answer]:
        """Returns the answers to those of the questions that were answered or dropped, by id."""
        answers: dict[str, Answer] = {}
        for chunk in chunks(ids, ROWS_PER_TRANSACTION):
            query = sa.select(table.c.id, table.c.body, table.c.content, table.c.shares, table.c.problem).where(
                table.c.project == project, table.c.state != "waiting", table.c.id.in_(chunk)
            )
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            for question_id, body, content, stored, problem in rows:
                shares = None if stored is None else shares_of(question_of(body).fields, stored)
                answers[question_id] = Answer(question_id, content, shares, problem=problem)
        return answers

    def cached_replies(self, project: int, teacher: str, control: ControlSchema | None = None) -> ReplyTable:
        """Returns all labels that this teacher has given; with `control`, all that it has said of this control. Reads
        only new ones from the database."""
        with_values = control is not None and not kind_of(control).replies_with_labels
        return self._replies.of(project, teacher, with_values=with_values)

    def replies(self, project: int, teacher: str, keys: Collection[bytes]) -> list[Reply]:
        """Returns the labels that this teacher has given for tasks with these content keys, oldest first."""
        # sorted in Python: with ORDER BY, SQLite would read all of the teacher's answers through another index
        columns = (table.c.answered_at, table.c.id, *REPLY_COLUMNS, *VALUE_COLUMNS)
        query = sa.select(*columns).where(is_teacher_label(project, teacher))
        rows: list[sa.Row[Any]] = []
        with self._database.read() as connection:
            for chunk in chunks(keys, ROWS_PER_TRANSACTION):
                rows += connection.execute(query.where(table.c.key.in_(chunk)))
        rows.sort(key=lambda row: (row.answered_at, row.id))
        return [reply_of(row, with_values=True) for row in rows]

    def keys_waiting(self, project: int, teacher: str, fields: ReplyFields) -> set[bytes]:
        """Returns the content keys of the tasks about which an unanswered question asks for exactly these fields."""
        query = sa.select(table.c.key, table.c.body).where(
            table.c.project == project, table.c.teacher == teacher, table.c.purpose == "label",
            table.c.state == "waiting", table.c.key.is_not(None),
        )  # fmt: skip
        with self._database.read() as connection:
            return {key for key, body in connection.execute(query) if question_of(body).reply_fields == fields}

    def counts(self, project: int, teacher: str) -> dict[tuple[str, str], int]:
        """Counts the questions to a teacher by (purpose, state)."""
        query = (
            sa.select(table.c.purpose, table.c.state, sa.func.count())
            .where(table.c.project == project, table.c.teacher == teacher)
            .group_by(table.c.purpose, table.c.state)
        )
        with self._database.read() as connection:
            return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}
