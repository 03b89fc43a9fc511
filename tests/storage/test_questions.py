"""Questions and answers: no question is asked twice, no reply is lost, and the ledger has every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from manual_clock import ManualClock
from schemas import by_control

from ml_backend.core.schema import ChoicesSchema, ControlSchema
from ml_backend.core.teacher_types import Answer, Call, LabelField, Question
from ml_backend.core.types import Draft, Prediction
from ml_backend.storage import PublishedDraft, Reply, ReplyTable, Spending, Store
from ml_backend.storage import ledger as ledger_module
from ml_backend.storage.ledger import AnsweredCalls
from ml_backend.storage.questions import Questions
from ml_backend.storage.schema import GIVEN_UP_SECONDS
from ml_backend.storage.schema import question as table

TEACHER = "scripted:model@here"
LABELS = ("fruit", "métal")
FIELD = LabelField("label", LABELS)
SCHEMA = {"type": "object", "properties": {"label": {"type": "string", "enum": list(LABELS)}}}


def question(number: int, purpose: str = "label") -> Question:
    examples = (("an apple", '{"label": "fruit"}'),)
    return Question(f"q{number}", purpose, "Label it.", f"text {number}", SCHEMA, examples, (FIELD,))  # type: ignore[arg-type]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def call(outcome: str = "answered", tokens: int = 10) -> Call:
    return Call("model", 0.5, tokens, 2, outcome)  # type: ignore[arg-type]


def answer(number: int, share: float = 0.75, *calls: Call) -> Answer:
    shares = np.array([share, 1 - share], np.float32)
    return Answer(f"q{number}", {"label": "fruit"}, {"label": shares}, calls or (call(),))


def topic(*labels: str) -> ControlSchema:
    return ChoicesSchema("topic", "text", labels)


def all_replies(store: Store) -> list[Reply]:
    """Returns the cached replies in the order of the answers."""
    replies = store.questions.cached_replies(5, TEACHER)
    rows, shares = replies.contents(topic(*LABELS))
    return [
        Reply(replies.keys[row], {"": dict(zip(LABELS, row_shares, strict=True))}, bool(replies.alone[row]))
        for row, row_shares in zip(rows.tolist(), shares.tolist(), strict=True)
    ]


def want(store: Store, *numbers: int) -> list[str]:
    store.questions.add(5, TEACHER, [(question(number), key(number)) for number in numbers])
    return [f"q{number}" for number in numbers]


def test_a_question_waits_unchanged_until_it_is_answered(any_store: Store) -> None:
    want(any_store, 2, 1)
    want(any_store, 3)
    assert any_store.questions.waiting(5) == [question(1), question(2), question(3)]
    assert any_store.questions.store_answer(5, answer(2), [0.25])
    assert any_store.questions.waiting(5) == [question(1), question(3)]
    assert any_store.questions.waiting(6) == []


def test_an_answer_is_kept_once_with_its_calls(any_store: Store) -> None:
    ids = want(any_store, 1)
    assert any_store.questions.store_answer(5, answer(1, 0.75, call("malformed"), call()), [0.25, 0.5])
    assert not any_store.questions.store_answer(5, answer(1, 0.1), [4.0]), "the question was answered already"
    assert not any_store.questions.store_answer(5, answer(7), [9.0]), "the question does not exist"
    stored = any_store.questions.answers(5, ids)["q1"]
    assert stored.content == {"label": "fruit"} and stored.shares is not None
    assert stored.shares["label"].tolist() == [0.75, 0.25]
    assert any_store.ledger.spent(5)[""] == Spending(3, 30, 6, 4.75, 1.5)
    assert any_store.ledger.outcomes(5)[""] == {"malformed": 1, "answered": 2}


def test_a_dropped_question_is_not_asked_again_and_says_why(any_store: Store) -> None:
    ids = want(any_store, 1)
    any_store.questions.store_answer(5, Answer("q1", None, None, (call("refused"),), "would not say"), [0.1])
    want(any_store, 1)
    assert any_store.questions.take(5, TEACHER, ids) == [] and any_store.questions.waiting(5) == []
    assert any_store.questions.answers(5, ids)["q1"].problem == "would not say"
    assert all_replies(any_store) == []
    assert any_store.questions.counts(5, TEACHER) == {("label", "dropped"): 1}


def test_a_taken_question_is_not_taken_again_until_it_is_given_back_or_given_up(
    any_store: Store, clock: ManualClock
) -> None:
    any_store.questions = Questions(any_store.database, clock)
    ids = want(any_store, 1, 2, 3)
    take = any_store.questions.take
    assert take(5, TEACHER, ["q2", "q1"]) == ["q2", "q1"]
    assert take(5, TEACHER, ids) == ["q3"]
    assert take(5, "another", ids) == take(6, TEACHER, ids) == []
    any_store.questions.release(5, ["q1"])
    assert take(5, TEACHER, ids) == ["q1"]
    clock.seconds += GIVEN_UP_SECONDS + 1
    assert take(5, TEACHER, ids) == ids


def test_a_question_that_is_renewed_is_not_given_up(any_store: Store, clock: ManualClock) -> None:
    any_store.questions = Questions(any_store.database, clock)
    ids = want(any_store, 1, 2)
    assert any_store.questions.take(5, TEACHER, ids) == ids
    clock.seconds += GIVEN_UP_SECONDS - 1
    any_store.questions.renew(5, ["q1"])
    clock.seconds += 2
    assert any_store.questions.take(5, TEACHER, ids) == ["q2"]


def test_a_choice_sees_the_questions_that_are_being_asked_and_limits_those_that_are_taken(any_store: Store) -> None:
    ids, calls = want(any_store, 1, 2, 3), []

    def choose(under_way: list[Question], free: list[str]) -> list[str]:
        calls.append((under_way, free))
        return free[:1]

    for _ in ids:
        any_store.questions.take(5, TEACHER, ids, choose)
    any_store.questions.store_answer(5, answer(1), [0.0])
    any_store.questions.release(5, ["q2"])
    assert any_store.questions.take(5, TEACHER, ids, choose) == ["q2"]
    assert calls == [
        ([], ["q1", "q2", "q3"]), ([question(1)], ["q2", "q3"]), ([question(1), question(2)], ["q3"]),
        ([question(3)], ["q2"]),
    ]  # fmt: skip


def test_a_taken_question_is_still_exported(any_store: Store) -> None:
    any_store.questions.take(5, TEACHER, want(any_store, 1))
    assert any_store.questions.waiting(5) == [question(1)]


def test_replies_are_those_of_one_teacher_about_tasks(any_store: Store) -> None:
    want(any_store, 1, 2)
    any_store.questions.add(5, "another", [(question(3), key(3))])
    any_store.questions.add(5, TEACHER, [(question(4, "describe"), None)])
    for number in (2, 3, 4, 1):
        any_store.questions.store_answer(5, answer(number, number / 8), [0.0])
    shares = {reply.key: dict(reply.shares[""]) for reply in all_replies(any_store)}
    assert shares == {key(1): {"fruit": 0.125, "métal": 0.875}, key(2): {"fruit": 0.25, "métal": 0.75}}
    replies = any_store.questions.replies(5, TEACHER, [key(2), key(3), key(9)])
    assert [reply.key for reply in replies] == [key(2)]
    assert any_store.questions.replies(5, TEACHER, []) == []


def test_tasks_with_an_unanswered_question_are_returned_by_their_keys(any_store: Store) -> None:
    want(any_store, 1, 2, 3)
    any_store.questions.add(5, "another", [(question(4), key(4))])
    any_store.questions.add(5, TEACHER, [(question(5, "describe"), None)])
    any_store.questions.store_answer(5, answer(1), [0.0])
    any_store.questions.store_answer(5, Answer("q2", None, None, (), "dropped"), [])
    assert any_store.questions.keys_waiting(5, TEACHER, ((FIELD,), ())) == {key(3)}
    assert not any_store.questions.keys_waiting(5, TEACHER, ((LabelField("label", LABELS[:1]),), ())), (
        "the question differs"
    )
    assert [question.id for question in any_store.questions.all(5)] == ["q1", "q2", "q3", "q4", "q5"]


def test_the_ledger_adds_up_by_purpose_and_from_a_moment_on(any_store: Store, clock: ManualClock) -> None:
    want(any_store, 1)
    any_store.questions.add(5, TEACHER, [(question(2, "write"), None)])
    clock.set_now(100.0)
    any_store.questions.store_answer(5, answer(1), [0.5])
    clock.set_now(200.0)
    any_store.questions.store_answer(5, answer(2), [0.25])
    unanswered = Answer("q9", None, None, (call("failed", 0),))
    any_store.ledger.add_calls(5, AnsweredCalls(unanswered, "label", TEACHER, [0.0]))
    assert any_store.ledger.spent(5) == {
        "": Spending(3, 20, 6, 0.75, 1.5),
        "label": Spending(2, 10, 4, 0.5, 1.0),
        "write": Spending(1, 10, 2, 0.25, 0.5),
    }
    assert any_store.ledger.spent(5, since=200.0)[""] == Spending(2, 10, 4, 0.25, 1.0)
    assert any_store.ledger.spent(6) == {"": Spending()}


def test_the_totals_of_the_ledger_are_those_of_its_calls_by_day(any_store: Store, clock: ManualClock) -> None:
    want(any_store, *range(1, 7))
    midnight = 20_000 * ledger_module.SECONDS_PER_DAY
    for number, moment in enumerate((midnight - 9, midnight - 1, midnight, midnight + 1, midnight + 2), start=1):
        clock.set_now(float(moment))
        any_store.questions.store_answer(5, answer(number, 0.75, call("malformed"), call()), [0.5, 0.25])
    assert any_store.ledger.spent(5)[""] == Spending(10, 100, 20, 3.75, 5.0)
    assert any_store.ledger.spent(5, since=midnight) == {
        "": Spending(6, 60, 12, 2.25, 3.0),
        "label": Spending(6, 60, 12, 2.25, 3.0),
    }
    assert any_store.ledger.spent(5, since=midnight - 1.0)[""].calls == 8
    assert any_store.ledger.spent(5, since=midnight + 2.0)[""].calls == 2
    assert any_store.ledger.outcomes(5) == {
        "": {"malformed": 5, "answered": 5},
        "label": {"malformed": 5, "answered": 5},
    }
    assert any_store.ledger.spent_on(5, ["q1", "q2", "q9"]) == Spending(4, 40, 8, 1.5, 2.0)
    assert any_store.ledger.spent_on(5, []) == Spending()


def test_answers_that_come_at_once_all_add_up(any_store: Store) -> None:
    want(any_store, *range(1, 41))

    def record(number: int) -> bool:
        return any_store.questions.store_answer(5, answer(number, 0.75, call("malformed"), call()), [0.5, 0.25])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(record, range(1, 41)))
    assert any_store.ledger.spent(5)[""] == Spending(80, 800, 160, 30.0, 40.0)
    assert len(all_replies(any_store)) == 40


def test_the_last_draft_of_each_task_is_stored_with_its_author(
    any_store: Store, draft_of: Callable[..., Prediction]
) -> None:
    any_store.published_drafts.put(
        5, "v1", [draft_of(1, "teacher", "fruit"), draft_of(2, None), draft_of(3, "learner", "fruit")]
    )
    any_store.published_drafts.put(5, "v2", [draft_of(3, "teacher", "métal"), draft_of(1, "learner", "fruit")])
    any_store.published_drafts.put(5, "v3", [])
    assert any_store.published_drafts.of(5, "v2") == [
        PublishedDraft(3, "v2", 0, by_control(Draft(("métal",), 0.5, "teacher"))),
        PublishedDraft(1, "v2", 1, by_control(Draft(("fruit",), 0.5, "learner"))),
    ]
    assert {
        published.task: (published.version, [draft.author for draft in published.drafts.values()])
        for published in any_store.published_drafts.of(5)
    } == {1: ("v2", ["learner"]), 2: ("v1", []), 3: ("v2", ["teacher"])}


@pytest.fixture
def draft_of() -> Callable[..., Prediction]:
    def make(task: int, author: str | None, *choices: str) -> Prediction:
        draft = Draft(choices, 0.5, author) if author else None  # type: ignore[arg-type]
        return Prediction(task, 0.1, by_control(draft))

    return make


def test_a_reply_says_whether_the_teacher_was_shown_annotations(any_store: Store) -> None:
    want(any_store, 1)
    any_store.questions.add(5, TEACHER, [(replace(question(2), examples=()), key(2))])
    for number in (1, 2):
        any_store.questions.store_answer(5, answer(number), [0.25])
    alone = {reply.key: reply.alone for reply in all_replies(any_store)}
    assert alone == {key(1): False, key(2): True}
    assert alone == {reply.key: reply.alone for reply in any_store.questions.replies(5, TEACHER, [key(1), key(2)])}


def test_an_answer_with_content_is_stored_after_one_without(any_store: Store) -> None:
    ids = want(any_store, 1)
    any_store.questions.store_answer(5, Answer("q1", None, None, (call("malformed"),), "cut off"), [0.1])
    assert not any_store.questions.store_answer(5, Answer("q1", None, None, (call("malformed"),), "cut off"), [0.1])
    assert any_store.questions.store_answer(5, answer(1), [0.1])
    assert any_store.questions.answers(5, ids)["q1"].content == {"label": "fruit"}
    assert [reply.key for reply in all_replies(any_store)] == [key(1)]
    assert not any_store.questions.store_answer(5, Answer("q1", None, None, (), "no JSON"), [])
    assert any_store.questions.counts(5, TEACHER) == {("label", "answered"): 1}


def test_only_new_replies_are_read_and_removed_ones_leave_the_cache(any_store: Store) -> None:
    read: list[int] = []
    extended = ReplyTable.extended

    def spy(replies: ReplyTable, more: Sequence[Reply]) -> ReplyTable:
        read.append(len(more))
        return extended(replies, more)

    want(any_store, *range(1, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReplyTable, "extended", spy)
        for numbers in ((1, 2, 3), (), (4,), (5, 6)):
            for number in numbers:
                any_store.questions.store_answer(5, answer(number, number / 8), [0.0])
            all_replies(any_store)
        assert read == [3, 1, 2]
        with any_store.database.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.id.in_(["q1", "q5"])))
        any_store.questions.store_answer(5, answer(7, 7 / 8), [0.0])
        assert [reply.key for reply in all_replies(any_store)] == [key(number) for number in (2, 3, 4, 6, 7)]


def test_replies_for_other_labels_are_grouped_separately(any_store: Store) -> None:
    want(any_store, 1)
    more = replace(question(2), fields=(LabelField("label", ("stone", *LABELS)),))
    any_store.questions.add(5, TEACHER, [(more, key(2))])
    any_store.questions.store_answer(
        5, Answer("q2", {"label": "stone"}, {"label": np.array([0.5, 0.25, 0.25], np.float32)}), []
    )
    any_store.questions.store_answer(5, answer(1), [0.0])
    replies = any_store.questions.cached_replies(5, TEACHER)
    rows, shares = replies.contents(topic("métal", "fruit"))
    assert rows.tolist() == [0, 1] and shares.tolist() == [[0.25, 0.25], [0.25, 0.75]]
    assert replies.keys_for(topic(*LABELS)) == {key(1)} and replies.keys_for(topic("stone")) == set()
    assert replies.contents(topic("stone", "fruit"))[0].tolist() == [0]
