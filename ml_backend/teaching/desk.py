"""The desk between a project and its teacher: asks what is not known yet, within the budget, and keeps what comes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ml_backend.domain import Answer, Call, Question
from ml_backend.ports import Teacher
from ml_backend.settings import ProjectSettings
from ml_backend.store import Store, now

CHARACTERS_A_TOKEN = 3.0  # cautious for English
TRIES, SAMPLES = 2, 5
MILLION = 1e6
LOT = 16  # questions between two looks at the budget


@dataclass(frozen=True, slots=True)
class Budget:
    """Prices of a million tokens, and caps on money and calls: of the project in all, and of one day (UTC); 0: none.

    replies  how many a question may need for its probabilities
    """

    input_price: float
    output_price: float
    project: float
    day: float
    day_calls: int
    replies: int = 1

    @classmethod
    def of(cls, options: ProjectSettings) -> Budget:
        return cls(
            options.teacher_input_price,
            options.teacher_output_price,
            options.teacher_budget,
            options.teacher_daily_budget,
            options.teacher_daily_calls,
            SAMPLES if options.teacher_probabilities in ("auto", "samples") else 1,
        )

    def cost(self, call: Call) -> float:
        return (call.input_tokens * self.input_price + call.output_tokens * self.output_price) / MILLION

    def expected(self, question: Question) -> float:
        """What a question costs at most: its replies are as long as they may be, and it is asked again."""
        shown = [question.instructions, question.text, *(part for pair in question.examples for part in pair)]
        tokens = sum(map(len, shown)) / CHARACTERS_A_TOKEN
        asked = TRIES * (self.replies if question.field else 1)
        return asked * (tokens * self.input_price + question.longest * self.output_price) / MILLION


class Desk:
    """One project's. Several processes may have one each: no question is asked by two of them."""

    def __init__(self, store: Store, project: int, teacher: Teacher, budget: Budget) -> None:
        self._store = store
        self._project = project
        self._teacher = teacher
        self._budget = budget

    @property
    def teacher(self) -> str:
        return self._teacher.name

    def ask(self, questions: Sequence[Question], keys: Sequence[bytes | None] = ()) -> Iterator[Answer]:
        """The answers to those questions that nobody has answered yet, each kept before it is given out.

        `keys`: the content keys of the tasks that they are about. What the budget does not allow, or the teacher does
        not answer now, goes on waiting. Raises TeacherUnavailable, after the answers so far.
        """
        named = zip(questions, keys or [None] * len(questions), strict=True)
        self._store.questions.want(self._project, self.teacher, named)
        left = list(questions)
        while allowed := self.affordable(left[:LOT]):
            yield from self._ask({each.id: each for each in allowed})
            left = left[len(allowed) :]

    def _ask(self, lot: dict[str, Question]) -> Iterator[Answer]:
        taken = set(self._store.questions.take(self._project, self.teacher, list(lot)))
        try:
            for answer in self._teacher.answer([lot[each] for each in lot if each in taken]):
                costs = [self._budget.cost(call) for call in answer.calls]
                if in_vain(answer):
                    purpose = lot[answer.question].purpose
                    self._store.ledger.enter(self._project, answer, purpose, self.teacher, costs)
                elif self._store.questions.record(self._project, answer, costs):
                    taken.discard(answer.question)
                    yield answer
        finally:
            self._store.questions.give_back(self._project, taken)

    def told(self, questions: Sequence[Question]) -> dict[str, Answer]:
        """What is known already of some questions."""
        return self._store.questions.answers(self._project, [each.id for each in questions])

    def exhausted(self, following: Question | None = None) -> str:
        """Which cap has been reached, or does not reach for the following question; "" if none."""
        more = self._budget.expected(following) if following else 0.0
        return out_of_budget(self._store, self._project, self._budget, more)

    def left(self) -> tuple[float, float]:
        """Money and calls that may still be spent today; infinite without a cap."""
        return left(self._store, self._project, self._budget)

    def affordable(self, questions: Sequence[Question]) -> list[Question]:
        """As many of the first questions as the budget surely covers."""
        if self.exhausted():
            return []
        money, calls = self.left()
        chosen: list[Question] = []
        for question in questions:
            money -= self._budget.expected(question)
            if money < 0 or len(chosen) >= calls:
                break
            chosen.append(question)
        return chosen


def in_vain(answer: Answer) -> bool:
    """Whether nobody answered in the end, whatever was paid before: the question is still a good one, and waits."""
    return answer.content is None and all(call.outcome == "failed" for call in answer.calls[-1:])


def left(store: Store, project: int, budget: Budget) -> tuple[float, float]:
    """See `Desk.left`."""
    in_all, today = store.ledger.spent(project)[""], store.ledger.spent(project, midnight())[""]
    money = min(
        budget.project - in_all.cost if budget.project else math.inf,
        budget.day - today.cost if budget.day else math.inf,
    )
    return money, budget.day_calls - today.calls if budget.day_calls else math.inf


def out_of_budget(store: Store, project: int, budget: Budget, more: float = 0.0) -> str:
    """Which cap has been reached, or would be passed at the cost of `more`, and which setting it is; "" if none."""
    in_all, today = store.ledger.spent(project)[""], store.ledger.spent(project, midnight())[""]
    for spent, following, cap, name, when in (
        (in_all.cost, more, budget.project, "teacher_budget", "of the project"),
        (today.cost, more, budget.day, "teacher_daily_budget", "of today"),
        (today.calls, 0.0, budget.day_calls, "teacher_daily_calls", "of today"),
    ):
        if cap and spent >= cap:
            return f"the teacher's budget {when} is spent ({spent:g} of {name} {cap:g}): the loop goes on without it"
        if cap and spent + following > cap:
            return (
                f"the teacher's budget {when} does not reach for the next question ({spent:g} of {name} {cap:g} is "
                f"spent, it may cost {following:g}): the loop goes on without it"
            )
    return ""


def midnight() -> float:
    """When today began, in UTC, in seconds since the epoch."""
    return datetime.fromtimestamp(now(), UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
