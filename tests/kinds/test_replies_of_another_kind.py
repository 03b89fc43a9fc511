"""A teacher's replies about a control count for controls of the kind, and for the question, that they answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from located_answer_kind import LOCATED_ANSWER_PLUGINS, LocatedAnswerKind

from ml_backend.core import registry
from ml_backend.core.schema import ChoicesSchema, ControlSchema
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import content_key
from ml_backend.kinds.base import ReplyFormat
from ml_backend.storage import Reply, ReplyTable, Store
from ml_backend.teacher.prompts import LabelPrompt, label_question

LABEL, REMARK = "topic", "remark"


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with registry.overridden(LOCATED_ANSWER_PLUGINS):
        yield


def test_replies_for_a_control_that_was_of_another_kind_are_not_read() -> None:
    answer = ControlSchema(LABEL, "text", kind="answer", tag="TextArea")
    answer_digest = LocatedAnswerKind().reply_format(answer).digest
    replies = ReplyTable().extended(
        [
            Reply(b"labelled", {LABEL: {"fruit": 0.9, "metal": 0.1}}),
            Reply(b"answered", {}, values={(LABEL, answer_digest): "a pear"}),
        ]
    )
    choices = ChoicesSchema(LABEL, "text", ("fruit", "metal"))
    assert [rows.tolist() for rows in (replies.contents(choices)[0], replies.contents(answer)[0])] == [[0], [1]]
    assert replies.contents(answer)[1].tolist() == ["a pear"]
    assert (replies.keys_for(choices), replies.keys_for(answer)) == ({b"labelled"}, {b"answered"})


class LongAnswerKind(LocatedAnswerKind):
    """Asks another question than the kind of `answer_kind`."""

    def reply_format(self, control: ControlSchema, *_: Any, **__: Any) -> ReplyFormat:
        return replace(super().reply_format(control), identity=["long text"])


def reply(store: Store, *controls: ControlSchema) -> bytes:
    """Asks about a text and stores a reply that repeats the names of the controls. Returns the key of the text."""
    text = f"a text for {[control.name for control in controls]}"
    question = label_question(LabelPrompt(controls), content_key(text), text, "scripted")
    store.questions.add(5, "scripted", [(question, content_key(text))])
    answer = Answer(question.id, {control.name: control.name for control in controls}, None)
    assert store.questions.store_answer(5, answer, [])
    return content_key(text)


def test_a_reply_counts_for_the_control_that_was_asked_about_alone(any_store: Store) -> None:
    label, remark = (ControlSchema(name, "text", kind="answer", tag="TextArea") for name in ("label", "remark"))
    both, first, second = reply(any_store, label, remark), reply(any_store, label), reply(any_store, remark)
    for control, key in ((label, first), (remark, second)):
        for replies in (
            any_store.questions.cached_replies(5, "scripted", control),
            ReplyTable().extended(any_store.questions.replies(5, "scripted", {both, first, second})),
        ):
            rows, values = replies.contents(control)
            assert [replies.keys[row] for row in rows] == [both, key] and {*values} == {control.name}
            assert replies.keys_for(control) == {both, key}


def test_a_reply_to_another_question_about_a_control_does_not_count(any_store: Store) -> None:
    control = ControlSchema(REMARK, "text", kind="answer", tag="TextArea")
    earlier = reply(any_store, control)
    earlier_fields = LabelPrompt([control]).reply_fields
    with registry.overridden({"kind.answer": LongAnswerKind()}):
        assert not any_store.questions.cached_replies(5, "scripted", control).keys_for(control)
        later = reply(any_store, control, ControlSchema("other", "text", kind="answer", tag="TextArea"))
        assert any_store.questions.cached_replies(5, "scripted", control).keys_for(control) == {later}
        assert LabelPrompt([control]).reply_fields != earlier_fields
    assert any_store.questions.cached_replies(5, "scripted", control).keys_for(control) == {earlier}
