"""The teacher's client: answered questions are not asked again, answers are stored, and no cap is exceeded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from manual_clock import ManualClock
from schemas import as_choices

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import content_key
from ml_backend.storage import Store
from ml_backend.storage.schema import GIVEN_UP_SECONDS
from ml_backend.teacher import prompts
from ml_backend.teacher.client import QUESTIONS_PER_BUDGET_CHECK, Budget, TeacherClient, exhausted_cap

SCHEMA = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal")),))
FREE = Budget(0.0, 0.0, 0.0, 0.0, 0)
PRICED = Budget(1000.0, 2000.0, 0.0, 0.0, 0)  # a call of 100 and 10 tokens costs 0.12


class Scripted:
    """Says the first label; `failing` answers come to nothing, and after `until` it is not available."""

    name = "scripted"

    def __init__(self, until: int | None = None, outcome: str = "answered") -> None:
        self.asked: list[str] = []
        self._until = until
        self._outcome = outcome

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            if self._until is not None and len(self.asked) >= self._until:
                raise TeacherUnavailableError("nobody is there", 7.0)
            self.asked.append(question.id)
            call = Call("m", 0.1, 100, 10, self._outcome)  # type: ignore[arg-type]
            if self._outcome == "answered":
                yield Answer(question.id, {"label": "fruit"}, {"label": np.array([0.9, 0.1], np.float32)}, (call,))
            else:
                yield Answer(question.id, None, None, (call,), "nothing")


def ask_for(n: int) -> tuple[list[Question], list[bytes]]:
    keys = [content_key(f"text {number}") for number in range(n)]
    return [
        prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), key, f"text {i}", "scripted")
        for i, key in enumerate(keys)
    ], keys


def test_an_answered_question_is_never_asked_again(store: Store) -> None:
    teacher = Scripted()
    client = TeacherClient(store, 5, teacher, FREE)
    asked, keys = ask_for(3)
    assert [answer.question for answer in client.ask(asked[:2], keys[:2])] == [question.id for question in asked[:2]]
    assert [answer.question for answer in TeacherClient(store, 5, teacher, FREE).ask(asked, keys)] == [asked[2].id]
    assert teacher.asked == [question.id for question in asked]
    assert set(client.stored_answers(asked)) == {question.id for question in asked}


def test_other_labels_texts_teachers_and_hints_make_another_question_and_descriptions_do_not() -> None:
    key = content_key("a text")
    plain = prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), key, "a text", "scripted")
    several = replace(as_choices(SCHEMA.controls[0]), multiple=True)
    others = {
        prompts.label_question(
            prompts.LabelPrompt([replace(SCHEMA.controls[0], labels=("fruit", "metal", "stone"))]),
            key,
            "a text",
            "scripted",
        ).id,
        prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), key, "a text", "another").id,
        prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key("b"), "b", "scripted").id,
        prompts.label_question(
            prompts.LabelPrompt([replace(SCHEMA.controls[0], hints=("grows on trees", ""))]), key, "a text", "scripted"
        ).id,
        prompts.label_question(prompts.LabelPrompt([several]), key, "a text", "scripted").id,
    }
    assert len(others) == 5 and plain.id not in others
    assert (
        prompts.label_question(
            prompts.LabelPrompt([SCHEMA.controls[0]], {"c": {"fruit": "grows on trees"}}), key, "a text", "scripted"
        ).id
        == plain.id
    )


def test_when_the_teacher_becomes_unavailable_earlier_answers_are_kept_and_the_rest_may_be_asked(
    store: Store,
) -> None:
    asked, keys = ask_for(5)
    with pytest.raises(TeacherUnavailableError, match="nobody is there"):
        list(TeacherClient(store, 5, Scripted(until=2), FREE).ask(asked, keys))
    second_teacher = Scripted()
    assert len(list(TeacherClient(store, 5, second_teacher, FREE).ask(asked, keys))) == 3
    assert second_teacher.asked == [question.id for question in asked[2:]]


def test_a_caller_that_stops_iterating_gives_back_the_unanswered_questions(store: Store) -> None:
    asked, keys = ask_for(5)
    answers = TeacherClient(store, 5, Scripted(), FREE).ask(asked, keys)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(list(TeacherClient(store, 5, Scripted(), FREE).ask(asked, keys))) == 4


def test_a_question_without_a_reply_waits_and_one_with_an_unusable_reply_is_dropped(store: Store) -> None:
    asked, keys = ask_for(1)
    assert list(TeacherClient(store, 5, Scripted(outcome="failed"), PRICED).ask(asked, keys)) == []
    assert store.questions.waiting(5) and store.ledger.outcomes(5)[""] == {"failed": 1}
    (dropped,) = TeacherClient(store, 5, Scripted(outcome="malformed"), PRICED).ask(asked, keys)
    assert dropped.content is None and not store.questions.waiting(5)
    assert store.ledger.spent(5)["label"].cost == pytest.approx(0.24)


def test_a_question_whose_last_call_failed_waits_even_if_an_earlier_call_was_paid(store: Store) -> None:
    class Halfway(Scripted):
        def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
            calls = Call("m", 0.1, 100, 10, "malformed"), Call("m", 60.0, 0, 0, "failed")
            yield from (Answer(question.id, None, None, calls, "no reply in time") for question in questions)

    asked, keys = ask_for(1)
    assert list(TeacherClient(store, 5, Halfway(), PRICED).ask(asked, keys)) == []
    assert store.questions.waiting(5) == asked
    assert store.ledger.outcomes(5)[""] == {"malformed": 1, "failed": 1}


class Dear(Scripted):
    """Needs as many calls, and as many tokens, as a question may need."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        by_id = {question.id: question for question in questions}
        for answer in super().answer(questions):
            asked = by_id[answer.question]
            n, tokens = self._budget.calls(asked), self._budget.max_cost(asked) * 1e6 / self._budget.output_price
            yield replace(answer, calls=(Call("m", 0.1, 0, int(tokens / n), "answered"),) * n)


@pytest.mark.parametrize("cap", ["project", "day", "day_calls"])
@pytest.mark.parametrize("replies", [1, 6])
def test_no_cap_is_exceeded_by_concurrent_clients(store: Store, cap: str, replies: int) -> None:
    asked, keys = ask_for(5 * QUESTIONS_PER_BUDGET_CHECK)
    budget = replace(PRICED, replies=replies)
    most = {"day_calls": 20.5 * budget.calls(asked[0])}.get(cap, 20.5 * budget.max_cost(asked[0]))
    caps: dict[str, Any] = {cap: int(most) if cap == "day_calls" else most}
    budget = replace(budget, **caps)
    running = [TeacherClient(store, 5, Dear(budget), budget).ask(asked, keys) for _ in range(3)]
    while running:
        running = [iterator for iterator in running if next(iterator, None) is not None]
    spent = store.ledger.spent(5)[""]
    used = spent.calls if cap == "day_calls" else spent.cost
    assert 0.9 * most < used <= getattr(budget, cap)
    assert store.questions.waiting(5), "what the budget does not allow goes on waiting"


def test_the_reservation_of_a_process_that_died_expires(store: Store, clock: ManualClock) -> None:
    asked, keys = ask_for(2)
    budget = replace(PRICED, day_calls=PRICED.calls(asked[0]))
    store.questions.add(5, "scripted", [(asked[0], keys[0])])
    store.questions.take(5, "scripted", [asked[0].id])
    assert list(TeacherClient(store, 5, Scripted(), budget).ask(asked, keys)) == []
    clock.sleep(GIVEN_UP_SECONDS + 1)
    assert len(list(TeacherClient(store, 5, Scripted(), budget).ask(asked, keys))) == 1


def test_a_question_that_is_too_expensive_does_not_block_others(store: Store) -> None:
    asked, keys = ask_for(2)
    dear = replace(asked[0], id="dear", longest=10**6)
    budget = replace(PRICED, project=3 * PRICED.max_cost(asked[0]))
    client = TeacherClient(store, 5, Scripted(), budget)
    assert client.affordable([dear, *asked]) == asked
    assert [answer.question for answer in client.ask([dear, *asked], [None, *keys])] == [
        question.id for question in asked
    ]
    assert store.questions.waiting(5) == [dear] and "does not cover" in client.exhausted_cap(dear)


@pytest.mark.parametrize("cap", ["teacher_budget", "teacher_daily_budget", "teacher_daily_calls"])
def test_zero_means_no_cap_and_the_description_of_the_setting_says_so(store: Store, cap: str) -> None:
    asked, keys = ask_for(2)
    tight = {"teacher_budget": 1e-9, "teacher_daily_budget": 1e-9, "teacher_daily_calls": 1}
    for lifted, answers in ((tight | {cap: 0}, 0), (dict.fromkeys(tight, 0), 2)):
        options = ProjectSettings(teacher_input_price=1.0, **lifted)
        client = TeacherClient(store, 5, Scripted(), Budget.of(options))
        assert cap not in client.exhausted_cap(asked[0])
        assert len(list(client.ask(asked, keys))) == answers
    assert "0: no limit" in (ProjectSettings.model_fields[cap].description or "")


def test_the_expected_cost_of_a_text_depends_on_its_bytes() -> None:
    asked, _ = ask_for(1)
    budget = replace(PRICED, output_price=0.0)
    more = budget.max_cost(replace(asked[0], text="猫" * 900)) - budget.max_cost(replace(asked[0], text=""))
    assert more == pytest.approx(budget.calls(asked[0]) * 900 * 1000.0 / 1e6)


def test_a_question_that_takes_long_is_not_asked_by_another_client(store: Store, clock: ManualClock) -> None:
    class Slow(Scripted):
        def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
            for _ in range(3):
                clock.sleep(GIVEN_UP_SECONDS / 2)
                time.sleep(0.1)  # so that the client renews the questions
            assert list(TeacherClient(store, 5, other, FREE).ask(asked, keys)) == []
            yield from super().answer(questions)

    asked, keys = ask_for(3)
    other = Scripted()
    client = TeacherClient(store, 5, Slow(), FREE, renew_seconds=0.02)
    assert len(list(client.ask(asked, keys))) == 3 and not other.asked


def test_a_budget_that_does_not_cover_the_next_question_is_reported_with_its_maximum_cost(store: Store) -> None:
    asked, keys = ask_for(3)
    most = PRICED.max_cost(asked[2])
    client = TeacherClient(store, 5, Scripted(), replace(PRICED, project=most + 0.1))
    assert client.exhausted_cap(asked[2]) == ""
    assert len(list(client.ask(asked, keys))) == 1
    assert client.exhausted_cap() == "" and client.remaining_budget()[0] < most
    message = client.exhausted_cap(asked[2])
    assert "does not cover" in message and "teacher_budget" in message and f"{most:g}" in message


def test_a_spent_budget_is_reported_with_its_setting_and_a_day_ends_at_midnight(
    store: Store, clock: ManualClock
) -> None:
    asked, keys = ask_for(2)
    budget = replace(PRICED, day_calls=PRICED.calls(asked[0]))
    client = TeacherClient(store, 5, Dear(budget), budget)
    assert client.exhausted_cap() == ""
    assert len(list(client.ask(asked, keys))) == 1
    assert "teacher_daily_calls 5" in client.exhausted_cap() and "of today" in exhausted_cap(store, 5, budget)
    clock.sleep(86_400)
    assert client.exhausted_cap() == "" and len(list(client.ask(asked, keys))) == 1
