"""The desk between a project and its teacher: asks what is not known yet, within the budget, and keeps what comes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from ml_backend.core import registry
from ml_backend.core.exceptions import StoreError
from ml_backend.core.ports import Teacher
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import (
    ASKED,
    BYTES_A_TOKEN,
    IN_VAIN,
    REASONING,
    Answer,
    Call,
    Question,
    most_calls,
    most_replies,
)
from ml_backend.storage import Spending, Store, now
from ml_backend.storage.questions import GIVEN_UP_SECONDS

WRAPPING = 1000  # bytes that a request has beside the question's own words
LOT = 16  # questions between two looks at the budget
RENEW_SECONDS = GIVEN_UP_SECONDS / 5


@dataclass(frozen=True, slots=True)
class Budget:
    """Prices of a million tokens, and caps on money and calls: of the project in all, and of one day (UTC); 0: none.

    replies  how many a question may need for its probabilities
    by_file  whether a question is one request with all its replies, and nothing is sent again
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
        by_file = options.teacher == registry.BY_FILE
        by_one = by_file and options.teacher_probabilities == "auto"  # nobody is there to see that it needs more
        return cls(
            options.teacher_input_price,
            options.teacher_output_price,
            options.teacher_budget,
            options.teacher_daily_budget,
            options.teacher_daily_calls,
            1 if by_one else most_replies(options.teacher_probabilities),
            by_file,
        )

    def cost(self, call: Call) -> float:
        return (call.input_tokens * self.input_price + call.output_tokens * self.output_price) / 1e6

    def calls(self, question: Question) -> int:
        """The most calls for a question."""
        return 1 if self.by_file else most_calls(self._replies(question))

    def expected(self, question: Question) -> float:
        """What a question costs at most: its replies are as long as they may be, and no call of it is for nothing."""
        words = [question.instructions, question.text, question.examples, question.reply]
        told = len(json.dumps(words, ensure_ascii=False).encode("utf-8", "replace")) + WRAPPING
        replies = self._replies(question) * (1 if self.by_file else ASKED + IN_VAIN)
        longest = question.longest + (REASONING if self.by_file else 0)
        read, written = self.calls(question) * told / BYTES_A_TOKEN, replies * longest
        return (read * self.input_price + written * self.output_price) / 1e6

    def _replies(self, question: Question) -> int:
        return self.replies if question.field else 1


class TeacherClient:
    """One project's. Several processes may have one each: no question is asked by two of them."""

    def __init__(self, store: Store, project: int, teacher: Teacher, budget: Budget) -> None:
        self._store = store
        self._project = project
        self._teacher = teacher
        self._budget = budget
        self.problem = ""
        """Why the latest question that goes on waiting has no answer."""

    @property
    def teacher(self) -> str:
        return self._teacher.name

    def ask(self, questions: Sequence[Question], keys: Sequence[bytes | None] = ()) -> Iterator[Answer]:
        """The answers to those questions that nobody has answered yet, each kept before it is given out.

        `keys`: the content keys of the tasks that they are about. What the budget does not allow, or the teacher does
        not answer now, goes on waiting. Raises TeacherUnavailableError, after the answers so far.
        """
        named = zip(questions, keys or [None] * len(questions), strict=True)
        self._store.questions.want(self._project, self.teacher, named)
        left = {each.id: each for each in questions}

        def choose(under_way: list[Question], free: list[str]) -> list[str]:
            return [each.id for each in islice(self._affordable([left[each] for each in free], under_way), LOT)]

        while lot := self._store.questions.take(self._project, self.teacher, list(left), choose):
            yield from self._ask({each: left.pop(each) for each in lot})

    def _ask(self, lot: dict[str, Question]) -> Iterator[Answer]:
        with self._held(set(lot)) as taken:
            for answer in self._teacher.answer(list(lot.values())):
                costs = [self._budget.cost(call) for call in answer.calls]
                if in_vain(answer):
                    self.problem = answer.problem
                    self._store.ledger.enter(self._project, answer, lot[answer.question].purpose, self.teacher, costs)
                elif self._store.questions.record(self._project, answer, costs):
                    taken.discard(answer.question)
                    yield answer

    @contextmanager
    def _held(self, taken: set[str]) -> Iterator[set[str]]:
        """Nobody else asks these questions, however long it takes; those still in the set are given back after it."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(RENEW_SECONDS):
                with suppress(StoreError):
                    self._store.questions.renew(self._project, list(taken))

        thread = threading.Thread(target=renew, name="held", daemon=True)
        thread.start()
        try:
            yield taken
        finally:
            done.set()
            thread.join()
            self._store.questions.give_back(self._project, taken)

    def told(self, questions: Sequence[Question]) -> dict[str, Answer]:
        """What is known already of some questions."""
        return self._store.questions.answers(self._project, [each.id for each in questions])

    def exhausted(self, following: Question | None = None) -> str:
        """Which cap has been reached, or does not reach for the following question; "" if none."""
        return out_of_budget(self._store, self._project, self._budget, following)

    def left(self) -> tuple[float, float]:
        """Money and calls that may still be spent today; infinite without a cap."""
        budget, (in_all, today) = self._budget, _spent(self._store, self._project)
        money = min(
            budget.project - in_all.cost if budget.project else math.inf,
            budget.day - today.cost if budget.day else math.inf,
        )
        return money, budget.day_calls - today.calls if budget.day_calls else math.inf

    def affordable(self, questions: Sequence[Question]) -> list[Question]:
        """Those that the budget surely covers: what is too dear is passed over for what is behind it."""
        return list(self._affordable(questions, []))

    def _affordable(self, questions: Sequence[Question], under_way: Sequence[Question]) -> Iterator[Question]:
        """`under_way`: what is being asked, and not on the ledger yet."""
        money, calls = self.left()
        money -= sum(map(self._budget.expected, under_way))
        calls -= sum(map(self._budget.calls, under_way))
        for question in questions if money > 0 and calls > 0 else ():
            cost, needed = self._budget.expected(question), self._budget.calls(question)
            if cost <= money and needed <= calls:
                money, calls = money - cost, calls - needed
                yield question


def without_model(options: ProjectSettings, project: int) -> str:
    """What to set if a teacher has no model, "" if it has one: what it is asked is kept under the model's name."""
    if options.teacher == registry.EMBEDDED or options.teacher_model:
        return ""
    return (
        f"The teacher of project {project} ({options.teacher}) has no model: set teacher_model in the project's extra "
        "params, or in APPRENTICE_DEFAULTS"
    )


def in_vain(answer: Answer) -> bool:
    """Whether nobody answered in the end, whatever was paid before: the question is still a good one, and waits."""
    return answer.content is None and all(call.outcome == "failed" for call in answer.calls[-1:])


def out_of_budget(store: Store, project: int, budget: Budget, following: Question | None = None) -> str:
    """Which cap has been reached, or would be passed by the following question, by its setting; "" if none."""
    in_all, today = _spent(store, project)
    more, calls = (budget.expected(following), budget.calls(following)) if following else (0.0, 0)
    for spent, needed, cap, name, when in (
        (in_all.cost, more, budget.project, "teacher_budget", "of the project"),
        (today.cost, more, budget.day, "teacher_daily_budget", "of today"),
        (today.calls, calls, budget.day_calls, "teacher_daily_calls", "of today"),
    ):
        if cap and spent >= cap:
            return f"the teacher's budget {when} is spent ({spent:g} of {name} {cap:g})"
        if cap and spent + needed > cap:
            return (
                f"the teacher's budget {when} does not reach for the next question ({spent:g} of {name} {cap:g} is "
                f"spent, it may take {needed:g})"
            )
    return ""


def _spent(store: Store, project: int) -> tuple[Spending, Spending]:
    """What the teacher has cost, in all and today."""
    return store.ledger.spent(project)[""], store.ledger.spent(project, midnight())[""]


def midnight() -> float:
    """When today began, in UTC, in seconds since the epoch."""
    return datetime.fromtimestamp(now(), UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
