"""A teacher whose answers are kept: nothing is asked twice in the same words, and what it took stays known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted_teacher import ScriptedTeacher

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import TaskSchema, content_key
from ml_backend.simulation.cached_teacher import PROJECT, CachedTeacher
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.teacher.client import Budget, TeacherClient

SCHEMA = TaskSchema(("fruit", "metal", "animal"), False, "c", "t", "text")
FREE = Budget(0.0, 0.0, 0.0, 0.0, 0)


def memory(store: Store, teacher: ScriptedTeacher, budget: Budget = FREE) -> CachedTeacher:
    return CachedTeacher(store, TeacherClient(store, PROJECT, teacher, budget))


def asked(*texts: str) -> list[Question]:
    return [prompts.label(SCHEMA, content_key(text), text, "scripted", {}) for text in texts]


def test_the_same_words_are_asked_once_and_count_for_everybody_who_asks(store: Store) -> None:
    teacher = ScriptedTeacher()
    first = memory(store, teacher)
    told = list(first.answer(asked("apple", "iron")))
    second = first.again()
    again = list(second.answer(asked("apple")))
    assert [each.content for each in told] == [{"label": "fruit"}, {"label": "metal"}]
    assert (again[0].question, again[0].content) == (told[0].question, told[0].content)
    assert len(teacher.asked) == 2
    assert (first.spent().calls, second.spent().calls, second.spent().input_tokens) == (2, 1, 100)


def test_other_examples_make_another_question(store: Store) -> None:
    """Its id is the same, for a draft is not asked for again; a simulated one of another run is."""
    teacher = ScriptedTeacher()
    (question,) = asked("apple")
    other = replace(question, examples=(("plum", '{"label": "fruit"}'),))
    found = memory(store, teacher)
    assert [each.question for each in found.answer([question])] == [each.question for each in found.answer([other])]
    assert len(teacher.asked) == 2


def test_what_came_to_nothing_comes_to_nothing_again_and_is_no_reason_to_ask_again(store: Store) -> None:
    class Useless(ScriptedTeacher):
        def answer(self, questions):  # type: ignore[no-untyped-def]
            for each in questions:
                self.asked.append(each)
                yield Answer(each.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")

    teacher = Useless()
    for _ in range(2):
        (answer,) = memory(store, teacher).answer(asked("apple"))
        assert (answer.content, answer.problem) == (None, "no JSON")
        assert list(TeacherClient(store, 7, memory(store, teacher), FREE).ask(asked("apple"))) in ([], [answer])
    assert len(teacher.asked) == 1


def test_a_cap_holds_for_all_that_is_asked_through_it(store: Store) -> None:
    teacher = ScriptedTeacher()
    found = memory(store, teacher, replace(FREE, day_calls=8))
    with pytest.raises(TeacherUnavailableError, match="teacher_daily_calls"):
        list(found.answer(asked("apple", "iron", "dog", "cow", "hen", "cat")))
    with pytest.raises(TeacherUnavailableError, match="teacher_daily_calls"):
        list(found.again().answer(asked("zinc", "gold", "tin", "nickel", "fig", "grape")))
    assert 0 < len(teacher.asked) <= 8
