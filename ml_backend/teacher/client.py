"""The client of a project's teacher: asks the questions that have no answer yet, within the budget, and stores the
answers.

A question may take several calls to the teacher, and may need several replies, whose shares are its probabilities.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from ml_backend.core import registry
from ml_backend.core.clock import Clock
from ml_backend.core.exceptions import StoreError
from ml_backend.core.ports import Teacher
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import (
    MAX_FAILED_CALLS,
    MAX_TRIES_PER_REPLY,
    REASONING_TOKENS,
    Answer,
    Call,
    Question,
    max_calls,
    max_replies,
)
from ml_backend.storage import Spending, Store
from ml_backend.storage.ledger import AnsweredCalls
from ml_backend.storage.schema import GIVEN_UP_SECONDS
from ml_backend.teacher.context_limit import max_prompt_tokens

QUESTIONS_PER_BUDGET_CHECK = 16  # questions that are sent before the budget is checked again
RENEW_SECONDS = GIVEN_UP_SECONDS / 5  # pause between two marks that the questions are still being asked


@dataclass(frozen=True, slots=True)
class Budget:
    """The prices of a teacher, and the caps on its cost and calls.

    input_price, output_price  money for a million tokens
    project                    cap on the cost of the project in total; 0: no cap
    day                        cap on the cost of one day (UTC); 0: no cap
    day_calls                  cap on the calls of one day (UTC); 0: no cap
    replies                    number of replies that a question may need for its probabilities
    by_file                    whether the questions are sent as a batch file: one request brings all replies to a
                               question, and no request is repeated
    """

    input_price: float
    output_price: float
    project: float
    day: float
    day_calls: int
    replies: int = 1
    by_file: bool = False

    @classmethod
    def of(cls, options: ProjectSettings) -> Budget:
        by_file = options.teacher == registry.BATCH_TEACHER
        # elsewhere, "auto" requests more replies if the first one has no log-probabilities, which a file cannot do
        is_single_reply = by_file and options.teacher_probabilities == "auto"
        return cls(
            options.teacher_input_price,
            options.teacher_output_price,
            options.teacher_budget,
            options.teacher_daily_budget,
            options.teacher_daily_calls,
            1 if is_single_reply else max_replies(options.teacher_probabilities),
            by_file,
        )

    def cost(self, call: Call) -> float:
        return (call.input_tokens * self.input_price + call.output_tokens * self.output_price) / 1e6

    def calls(self, question: Question) -> int:
        """The maximum number of calls for a question."""
        return 1 if self.by_file else max_calls(self._replies(question))

    def max_cost(self, question: Question) -> float:
        """The maximum cost of a question, if each reply has its maximum length and each call must be repeated as often
        as is allowed. All calls are paid, also those that bring no answer."""
        replies = self._replies(question) * (1 if self.by_file else MAX_TRIES_PER_REPLY + MAX_FAILED_CALLS)
        longest = question.longest + (REASONING_TOKENS if self.by_file else 0)
        input_tokens, output_tokens = self.calls(question) * max_prompt_tokens(question), replies * longest
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6

    def _replies(self, question: Question) -> int:
        return self.replies if question.fields else 1


class TeacherClient:
    """The client of one project's teacher. Several processes may have a client each; no process asks a question that
    another process is asking."""

    def __init__(
        self, store: Store, project: int, teacher: Teacher, budget: Budget, renew_seconds: float = RENEW_SECONDS
    ) -> None:
        self._store = store
        self._project = project
        self._teacher = teacher
        self._budget = budget
        self._renew_seconds = renew_seconds
        self.problem = ""
        """The problem of the latest question that got no reply, "" if there is none."""

    @property
    def teacher(self) -> str:
        return self._teacher.name

    def ask(self, questions: Sequence[Question], keys: Sequence[bytes | None] = ()) -> Iterator[Answer]:
        """Asks the questions that have no answer yet, and yields each answer after it is stored.

        `keys`: for each question, the content key of the task that the question is about, None if it is about no single
        task. Questions that the budget does not cover, or to which the teacher does not reply now, stay unanswered in
        the store. Raises TeacherUnavailableError, after it has yielded the answers so far.
        """
        self._store.questions.add(
            self._project, self.teacher, zip(questions, keys or [None] * len(questions), strict=True)
        )
        remaining = {question.id: question for question in questions}

        def choose(in_progress: list[Question], free_ids: list[str]) -> list[str]:
            affordable = self._affordable([remaining[id_] for id_ in free_ids], in_progress)
            return [question.id for question in islice(affordable, QUESTIONS_PER_BUDGET_CHECK)]

        while batch_ids := self._store.questions.take(self._project, self.teacher, list(remaining), choose):
            yield from self._ask({id_: remaining.pop(id_) for id_ in batch_ids})

    def _ask(self, batch: dict[str, Question]) -> Iterator[Answer]:
        with self._reserved(set(batch)) as unanswered:
            for answer in self._teacher.answer(list(batch.values())):
                costs = [self._budget.cost(call) for call in answer.calls]
                if has_no_reply(answer):
                    self.problem = answer.problem
                    purpose = batch[answer.question].purpose
                    answered = AnsweredCalls(answer, purpose, self.teacher, costs)
                    self._store.ledger.add_calls(self._project, answered)
                elif self._store.questions.store_answer(self._project, answer, costs):
                    unanswered.discard(answer.question)
                    yield answer

    @contextmanager
    def _reserved(self, ids: set[str]) -> Iterator[set[str]]:
        """Keeps other clients from asking the questions with these `ids`, and yields `ids`, from which the caller
        removes the answered ones. At the end, any client may ask the questions that are still in `ids`."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self._renew_seconds):
                with suppress(StoreError):
                    self._store.questions.renew(self._project, list(ids))

        thread = threading.Thread(target=renew, name="held", daemon=True)
        thread.start()
        try:
            yield ids
        finally:
            done.set()
            thread.join()
            self._store.questions.release(self._project, ids)

    def stored_answers(self, questions: Sequence[Question]) -> dict[str, Answer]:
        """The stored answers to the questions, by question id."""
        return self._store.questions.answers(self._project, [question.id for question in questions])

    def exhausted_cap(self, following: Question | None = None) -> str:
        """A message that names the cap that has been reached, or that the question `following` would exceed; "" if
        there is none."""
        return exhausted_cap(self._store, self._project, self._budget, following)

    def remaining_budget(self) -> tuple[float, float]:
        """The money and the number of calls that may still be spent today; infinite without a cap."""
        budget, (total, today) = self._budget, _spending(self._store, self._project)
        money = min(
            budget.project - total.cost if budget.project else math.inf,
            budget.day - today.cost if budget.day else math.inf,
        )
        return money, budget.day_calls - today.calls if budget.day_calls else math.inf

    def affordable(self, questions: Sequence[Question]) -> list[Question]:
        """The questions that the budget covers together, by their maximum costs and numbers of calls, in their order. A
        question that costs too much is skipped, and cheaper questions after it may still be covered."""
        return list(self._affordable(questions, []))

    def _affordable(self, questions: Sequence[Question], in_progress: Sequence[Question]) -> Iterator[Question]:
        """As `affordable`. `in_progress`: questions that are being asked and have no entry in the ledger yet; their
        maximum costs are subtracted from the budget."""
        money, calls = self.remaining_budget()
        money -= sum(map(self._budget.max_cost, in_progress))
        calls -= sum(map(self._budget.calls, in_progress))
        for question in questions if money > 0 and calls > 0 else ():
            cost, needed_calls = self._budget.max_cost(question), self._budget.calls(question)
            if cost <= money and needed_calls <= calls:
                money, calls = money - cost, calls - needed_calls
                yield question


def missing_model_problem(options: ProjectSettings, project: int) -> str:
    """A message that names the setting to set if the teacher has no model; "" if it has one or needs none. A teacher
    that is asked needs a model, because questions and answers are stored under the model's name."""
    if options.teacher == registry.EMBEDDED_TEACHER or options.teacher_model:
        return ""
    return (
        f"The teacher of project {project} ({options.teacher}) has no model: set teacher_model in the project's extra "
        "params, or in APPRENTICE_DEFAULTS"
    )


def has_no_reply(answer: Answer) -> bool:
    """Whether the answer has no content because the last call brought no reply, or no call was made. Earlier calls for
    the question may have brought replies, and are paid for. The question stays unanswered, and is asked again."""
    return answer.content is None and all(call.outcome == "failed" for call in answer.calls[-1:])


def exhausted_cap(store: Store, project: int, budget: Budget, following: Question | None = None) -> str:
    """A message that names the setting of the cap that has been reached, or that the question `following` would exceed;
    "" if there is none."""
    total, today = _spending(store, project)
    cost, calls = (budget.max_cost(following), budget.calls(following)) if following else (0.0, 0)
    for spent, needed, cap, name, period in (
        (total.cost, cost, budget.project, "teacher_budget", "of the project"),
        (today.cost, cost, budget.day, "teacher_daily_budget", "of today"),
        (today.calls, calls, budget.day_calls, "teacher_daily_calls", "of today"),
    ):
        if cap and spent >= cap:
            return f"the teacher's budget {period} is spent ({spent:g} of {name} {cap:g})"
        if cap and spent + needed > cap:
            return (
                f"the teacher's budget {period} does not cover the next question ({spent:g} of {name} {cap:g} is "
                f"spent, it may take {needed:g})"
            )
    return ""


def _spending(store: Store, project: int) -> tuple[Spending, Spending]:
    """The teacher's cost and calls in the project, in total and today (UTC)."""
    return store.ledger.spent(project)[""], store.ledger.spent(project, start_of_today(store.clock))[""]


def start_of_today(clock: Clock) -> float:
    """The beginning of today in UTC, in seconds since the epoch."""
    return datetime.fromtimestamp(clock.now(), UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
