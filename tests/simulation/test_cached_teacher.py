"""A teacher whose answers are cached: no question is asked twice, and its cost is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted_teacher import ScriptedTeacher

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import content_key
from ml_backend.simulation.cached_teacher import PROJECT_ID, CachedTeacher
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.teacher.client import Budget, TeacherClient

SCHEMA = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal", "animal")),))
FREE = Budget(0.0, 0.0, 0.0, 0.0, 0)


def cached_teacher(store: Store, teacher: ScriptedTeacher, budget: Budget = FREE) -> CachedTeacher:
    return CachedTeacher(store, TeacherClient(store, PROJECT_ID, teacher, budget))


def questions(*texts: str) -> list[Question]:
    return [
        prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text), text, "scripted")
        for text in texts
    ]


def test_the_same_question_is_asked_once_and_counts_in_every_run(store: Store) -> None:
    teacher = ScriptedTeacher()
    first = cached_teacher(store, teacher)
    answers = list(first.answer(questions("apple", "iron")))
    second = first.again()
    repeated_answers = list(second.answer(questions("apple")))
    assert [answer.content for answer in answers] == [{"label": "fruit"}, {"label": "metal"}]
    assert (repeated_answers[0].question, repeated_answers[0].content) == (answers[0].question, answers[0].content)
    assert len(teacher.asked) == 2
    assert (first.spent().calls, second.spent().calls, second.spent().input_tokens) == (2, 1, 100)


def test_other_examples_make_another_question(store: Store) -> None:
    """The id of a question does not depend on its examples, but the cache does."""
    teacher = ScriptedTeacher()
    (question,) = questions("apple")
    other_question = replace(question, examples=(("plum", '{"label": "fruit"}'),))
    cached = cached_teacher(store, teacher)
    assert [answer.question for answer in cached.answer([question])] == [
        answer.question for answer in cached.answer([other_question])
    ]
    assert len(teacher.asked) == 2


def test_a_malformed_answer_is_cached_too(store: Store) -> None:
    class Useless(ScriptedTeacher):
        def answer(self, questions):  # type: ignore[no-untyped-def]
            for question in questions:
                self.asked.append(question)
                yield Answer(question.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")

    teacher = Useless()
    for _ in range(2):
        (answer,) = cached_teacher(store, teacher).answer(questions("apple"))
        assert (answer.content, answer.problem) == (None, "no JSON")
        assert list(TeacherClient(store, 7, cached_teacher(store, teacher), FREE).ask(questions("apple"))) in (
            [],
            [answer],
        )
    assert len(teacher.asked) == 1


def test_a_cap_holds_for_all_that_is_asked_through_it(store: Store) -> None:
    teacher = ScriptedTeacher()
    cached = cached_teacher(store, teacher, replace(FREE, day_calls=8))
    with pytest.raises(TeacherUnavailableError, match="teacher_daily_calls"):
        list(cached.answer(questions("apple", "iron", "dog", "cow", "hen", "cat")))
    with pytest.raises(TeacherUnavailableError, match="teacher_daily_calls"):
        list(cached.again().answer(questions("zinc", "gold", "tin", "nickel", "fig", "grape")))
    assert 0 < len(teacher.asked) <= 8
