"""Long strings, and characters that a database refuses, are stored in the same way on both databases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from versions import version

from ml_backend.core.teacher_types import Answer, Call, LabelField, Question
from ml_backend.core.types import Remark, TaskContent, content_key
from ml_backend.storage import RoundRow, Store

ODD = "a\0b\ud800c"
PLAIN = "a b?c"
LONG = "openai:" + "m" * 500


def question(text: str) -> Question:
    return Question("q1", "label", "Label it.", text, {}, ((text, text),), (LabelField("label", ("a", "b")),))


@pytest.mark.parametrize("name", [LONG, ODD])
def test_a_teacher_and_a_model_may_have_any_name(any_store: Store, name: str) -> None:
    any_store.projects.ensure(5)
    any_store.questions.add(5, name, [(question("text"), None)])
    any_store.teacher_states.set_teacher(5, name, name)
    any_store.teacher_states.set_problem(5, name, ODD)
    assert any_store.questions.take(5, name, ["q1"]) == ["q1"]
    answer = Answer("q1", {"label": "a"}, {"label": np.array([1, 0], np.float32)}, (Call(name, 0.1, 1, 1, "answered"),))
    assert any_store.questions.store_answer(5, answer, [0.0])
    assert any_store.questions.counts(5, name) == {("label", "answered"): 1}
    assert (any_store.projects.require(5).teacher or {})["problem"] == PLAIN


def test_characters_that_cannot_be_stored_are_replaced_in_replies_of_a_teacher(any_store: Store) -> None:
    any_store.questions.add(5, "t", [(question(ODD + "\\u0000"), None)])
    assert any_store.questions.waiting(5)[0].examples == ((PLAIN + "\\u0000", PLAIN + "\\u0000"),)
    any_store.questions.store_answer(5, Answer("q1", None, None, (), ODD), [])
    assert any_store.questions.answers(5, ["q1"])["q1"].problem == PLAIN
    assert any_store.questions.replies(5, "t", [content_key(ODD)]) == []


def test_errors_notes_and_names_of_versions_may_hold_anything(any_store: Store) -> None:
    any_store.versions.record_round(5, RoundRow(LONG, 1.0, 2.0, {}, ODD))
    assert any_store.versions.last_rounds(5) == [RoundRow(LONG, 1.0, 2.0, {}, PLAIN)]
    any_store.versions.add(
        replace(version(1), name=LONG, remarks=(Remark("text", {"text": ODD}),), acquisition=LONG), None, 0
    )
    named = any_store.versions.named(5, LONG)
    assert named is not None and (named.remarks, named.acquisition) == ((Remark("text", {"text": PLAIN}),), LONG)


def test_documents_and_configurations_may_hold_anything(any_store: Store) -> None:
    any_store.projects.set_label_config(5, ODD)
    any_store.projects.set_extra_params(5, {"teacher_model": ODD})
    any_store.label_descriptions.put(5, "a control", {"fruit": {"description": ODD, "cues": [[ODD, 1]]}})
    project_row = any_store.projects.require(5)
    assert (project_row.label_config, project_row.extra_params) == (PLAIN, {"teacher_model": PLAIN})
    assert project_row.label_descriptions == {"a control": {"fruit": {"description": PLAIN, "cues": [[PLAIN, 1]]}}}


def test_a_task_may_hold_anything(any_store: Store) -> None:
    any_store.tasks.put(5, [TaskContent(1, ODD, content_key(ODD), {ODD: ODD})])
    assert any_store.tasks.texts(5, [1]) == [PLAIN]
    assert any_store.tasks.values(5, PLAIN, [1]) == {1: PLAIN}
