"""Questions with several fields and their answers, beside those that earlier releases stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import sqlalchemy as sa
from stored_texts import OTHER, SECRET, example

from ml_backend.core.schema import ChoicesSchema, ControlSchema
from ml_backend.core.teacher_types import Answer, LabelField, Question, ValueField
from ml_backend.core.types import content_key
from ml_backend.storage import Reply, Store
from ml_backend.storage.quote_erasure import ErasureLimits, QuoteEraser
from ml_backend.storage.schema import question as table

TEACHER = "scripted"
TOPIC, TONE = LabelField("topic", ("fruit", "topic")), LabelField("tone", ("angry", "calm", "topic"), True)
SINGLE = LabelField("label", ("fruit", "topic"))
CONTENT = {"topic": "fruit", "tone": ["calm"]}
EARLIER_BODY = {
    "id": "earlier", "purpose": "label", "instructions": "Label it.", "text": "plum", "reply": {"type": "object"},
    "examples": [["zinc", '{"label": "topic"}']], "field": "label", "labels": ["fruit", "topic"], "multiple": False,
    "longest": 44,
}  # fmt: skip
EARLIER_QUESTION = Question(
    "earlier", "label", "Label it.", "plum", {"type": "object"}, (("zinc", '{"label": "topic"}'),), (SINGLE,), 44
)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def asking(question_id: str, *fields: LabelField, **values: Any) -> Question:
    return Question(question_id, "label", "Label it.", "a text", {"type": "object"}, fields=fields, **values)


def control(name: str, *labels: str, needs_name: bool = False) -> ControlSchema:
    return ChoicesSchema(name, "text", labels, multiple=False, needs_name=needs_name)


def shares(*probabilities: float) -> Any:
    return np.array(probabilities, np.float32)


def answer_both(store: Store, question_id: str, task_key: bytes) -> None:
    """Asks for topic and tone, and stores the answer."""
    store.questions.add(5, TEACHER, [(asking(question_id, TOPIC, TONE), task_key)])
    probabilities = {"topic": shares(0.75, 0.25), "tone": shares(0.125, 0.5, 0.25)}
    assert store.questions.store_answer(5, Answer(question_id, CONTENT, probabilities), [])


def add_earlier_rows(store: Store) -> None:
    """Adds a waiting and an answered question as earlier releases stored them."""
    row = {
        "project": 5, "teacher": TEACHER, "purpose": "label", "wanted_at": 1.0, "asked_at": 0.0, "problem": "",
        "alone": False,
    }  # fmt: skip
    with store.database.begin() as connection:
        waiting = {"id": "earlier", "key": key(1), "body": EARLIER_BODY, "state": "waiting"}
        connection.execute(sa.insert(table).values({**row, **waiting}))
        answered = {
            "id": "answered", "key": key(2), "body": {**EARLIER_BODY, "id": "answered"}, "state": "answered",
            "answered_at": 2.0, "content": {"label": "fruit"}, "shares": {"fruit": 0.75, "topic": 0.25},
        }  # fmt: skip
        connection.execute(sa.insert(table).values({**row, **answered}))


def test_a_question_with_several_fields_and_its_answer_are_read_as_they_were_stored(any_store: Store) -> None:
    asked = asking("both", TOPIC, TONE, examples=(("plum", '{"topic": "fruit"}'),))
    any_store.questions.add(5, TEACHER, [(asked, key(1))])
    assert any_store.questions.waiting(5) == [asked]
    assert any_store.questions.keys_waiting(5, TEACHER, ((TOPIC, TONE), ())) == {key(1)}
    assert not any_store.questions.keys_waiting(5, TEACHER, ((TOPIC,), ()))
    answer_both(any_store, "both", key(1))
    stored = any_store.questions.answers(5, ["both"])["both"]
    assert stored.content == CONTENT and stored.shares is not None
    assert {name: array.tolist() for name, array in stored.shares.items()} == {
        "topic": [0.75, 0.25], "tone": [0.125, 0.5, 0.25],
    }  # fmt: skip


def test_questions_and_answers_of_earlier_releases_are_read(any_store: Store) -> None:
    add_earlier_rows(any_store)
    assert any_store.questions.waiting(5) == [EARLIER_QUESTION]
    assert any_store.questions.keys_waiting(5, TEACHER, ((SINGLE,), ())) == {key(1)}
    stored = any_store.questions.answers(5, ["answered"])["answered"]
    assert stored.shares is not None and stored.shares["label"].tolist() == [0.75, 0.25]
    assert any_store.questions.store_answer(5, Answer("earlier", {"label": "fruit"}, {"label": shares(1, 0)}), [])
    assert any_store.questions.replies(5, TEACHER, [key(1)]) == [
        Reply(key(1), {"": {"fruit": 1.0, "topic": 0.0}}, False)
    ]


def test_a_question_with_one_field_is_stored_as_by_earlier_releases(any_store: Store) -> None:
    any_store.questions.add(5, TEACHER, [(EARLIER_QUESTION, key(1))])
    any_store.questions.store_answer(5, Answer("earlier", {"label": "fruit"}, {"label": shares(0.75, 0.25)}), [])
    with any_store.database.read() as connection:
        row = connection.execute(sa.select(table.c.body, table.c.shares)).one()
    assert row.body == EARLIER_BODY and row.shares == {"fruit": 0.75, "topic": 0.25}


def test_a_reply_counts_for_the_control_that_it_names_or_for_any_control_if_it_has_one_field(any_store: Store) -> None:
    add_earlier_rows(any_store)
    answer_both(any_store, "both", key(3))
    replies = any_store.questions.cached_replies(5, TEACHER)
    assert list(replies.keys) == [key(2), key(3)]
    rows, probabilities = replies.contents(control("topic", "topic", "fruit"))
    assert rows.tolist() == [0, 1] and probabilities.tolist() == [[0.25, 0.75], [0.25, 0.75]]
    rows, probabilities = replies.contents(control("tone", "calm", "topic"))
    assert rows.tolist() == [1] and probabilities.tolist() == [[0.5, 0.25]]
    assert replies.contents(control("tone", "topic"))[0].tolist() == [0, 1]
    assert replies.contents(control("another", "fruit"))[0].tolist() == [0], "it had a field for other controls only"
    assert replies.keys_for(control("topic", *TOPIC.labels)) == {key(2), key(3)}
    assert replies.keys_for(control("tone", *TONE.labels)) == {key(3)}


def test_a_reply_that_names_its_only_control_counts_for_no_other(any_store: Store) -> None:
    asked = asking("toxic", LabelField("toxic", ("Yes", "No")))
    any_store.questions.add(5, TEACHER, [(asked, key(1))])
    assert any_store.questions.store_answer(5, Answer("toxic", {"toxic": "Yes"}, {"toxic": shares(0.75, 0.25)}), [])
    stored = any_store.questions.answers(5, ["toxic"])["toxic"]
    assert stored.shares is not None and stored.shares["toxic"].tolist() == [0.75, 0.25]
    replies = any_store.questions.cached_replies(5, TEACHER)
    assert replies.keys_for(control("toxic", "Yes", "No")) == {key(1)}
    assert not replies.keys_for(control("relevant", "Yes", "No"))
    assert not len(replies.contents(control("relevant", "Yes", "No"))[0])


def test_a_reply_for_a_control_with_the_name_label_counts_for_no_other(any_store: Store) -> None:
    asked = asking("named", LabelField("label", ("Yes", "No"), named=True))
    any_store.questions.add(5, TEACHER, [(asked, key(1))])
    assert any_store.questions.waiting(5) == [asked]
    assert not any_store.questions.keys_waiting(5, TEACHER, ((LabelField("label", ("Yes", "No")),), ()))
    assert any_store.questions.store_answer(5, Answer("named", {"label": "Yes"}, {"label": shares(0.75, 0.25)}), [])
    stored = any_store.questions.answers(5, ["named"])["named"]
    assert stored.shares is not None and stored.shares["label"].tolist() == [0.75, 0.25]
    replies = any_store.questions.cached_replies(5, TEACHER)
    assert replies.keys_for(control("label", "Yes", "No", needs_name=True)) == {key(1)}
    assert not replies.keys_for(control("relevant", "Yes", "No"))


def test_a_reply_that_names_no_control_does_not_count_for_one_that_needs_its_name(any_store: Store) -> None:
    add_earlier_rows(any_store)
    replies = any_store.questions.cached_replies(5, TEACHER)
    first, second = control("first", *SINGLE.labels), control("second", *SINGLE.labels, needs_name=True)
    assert replies.keys_for(first) == {key(2)} and len(replies.contents(first)[0]) == 1
    assert not replies.keys_for(second) and not len(replies.contents(second)[0])


def test_labels_that_are_equal_to_a_deleted_text_stay_in_the_answer_and_in_the_question(any_store: Store) -> None:
    any_store.tasks.put(5, [example(1, SECRET), example(2, OTHER)])
    fields = LabelField("text", (SECRET, "short")), LabelField("examples", (SECRET, OTHER), True)
    asked = asking("both", *fields, examples=((SECRET, "{}"), (OTHER, "{}")))
    any_store.questions.add(5, TEACHER, [(asked, content_key(OTHER))])
    any_store.tasks.remove(5, [1])
    content = {"text": SECRET, "examples": [SECRET]}
    probabilities = {"text": shares(1, 0), "examples": shares(1, 0)}
    any_store.questions.store_answer(5, Answer("both", content, probabilities), [])
    eraser = QuoteEraser(any_store.database, ErasureLimits(step_seconds=600.0, keep_seconds=0.0))
    while eraser.step(5):
        pass
    (stored,) = any_store.questions.all(5)
    assert stored.fields == fields and stored.examples == (("", "{}"), (OTHER, "{}"))
    answer = any_store.questions.answers(5, ["both"])["both"]
    assert answer.content == content and answer.shares is not None


def test_an_answer_to_a_question_without_labels_has_no_probabilities(store: Store) -> None:
    question = asking("written", value_fields=(ValueField("rewrite", "digest"),))
    store.questions.add(5, TEACHER, [(question, key(7))])
    assert store.questions.store_answer(5, Answer("written", {"rewrite": {"text": "please"}}, {}), [])
    [answer] = store.questions.answers(5, ["written"]).values()
    assert (answer.content, answer.shares) == ({"rewrite": {"text": "please"}}, {})
