"""Rounds of EvoKD with a teacher that writes from a script: what is asked, kept, and becomes a task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from authors import Author, add_control, synthetic
from fake_label_studio import FakeLabelStudio
from projects import synthetic_tasks
from round_fixtures import MakeRound

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.teacher.evolution import labelled_texts, steps
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, POOL, TAUGHT, GeneratedText


def test_a_round_diagnoses_writes_labels_examines_and_then_makes_tasks(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    (round_,) = evolving().run(1)
    assert [question.purpose for question in teacher.asked] == ["diagnose", "write", *["label"] * 12]
    assert "animal" in teacher.asked[0].text and "It is weak." in round_.weaknesses and "say more" in round_.weaknesses
    assert "It is weak." in teacher.asked[1].text
    assert set(teacher.asked[1].reply["properties"]) == {"hard", "easy"}, "texts are written without labels"
    assert "do not say which" in teacher.asked[1].instructions
    assert (round_.written, len(round_.texts), dict(round_.dropped), round_.used, round_.done) == (12, 12, {}, 6, True)
    assert round_.score(HARD)[1] == round_.score(EASY)[1] == 6
    tasks = synthetic(confused)
    assert len(tasks) == 6
    assert sorted(data[SYNTHETIC_FIELD] for data in tasks.values()) == ["easy"] * 3 + ["hard"] * 3
    assert {data["text"] for data in tasks.values()} == {text.text for text in round_.texts[:6]}
    assert synthetic_tasks(store, 5) == sorted(tasks)
    assert store.jobs.state(5).waiting
    spent = store.ledger.spent_on(5, [id_ for ids in round_.asked.values() for id_ in ids])
    assert (spent.calls, spent.input_tokens) == (14, 1400)


def test_a_task_made_of_a_text_has_the_teachers_label_as_its_draft(
    evolving: Callable[..., EvolutionRun], confused: FakeLabelStudio, store: Store, make_round: MakeRound,
    options: Callable[..., None],
) -> None:  # fmt: skip
    (round_,) = evolving().run(1)
    options(queue_size=100, audit_share=0.0)
    run_round(make_round(confused))
    label_of_text = {text.text: text.label for text in round_.texts}
    drafts = {draft["task"]: draft for draft in confused.current_predictions()}
    for task, data in synthetic(confused).items():
        (region,) = drafts[task]["result"]
        assert tuple(region["value"]["choices"]) == label_of_text[data["text"]]
        assert region["meta"]["text"][0].startswith("teacher's draft")


def test_synthetic_share_limits_the_tasks_and_a_full_quota_is_reported_before_anything_is_paid(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, options: Callable[..., None]
) -> None:
    first, second = evolving().run(2)
    assert (first.used, second.used, len(synthetic(confused))) == (6, 6, 12)
    asked = len(teacher.asked)
    with pytest.raises(ApprenticeError, match=r"as many synthetic tasks as synthetic_share 0.2 allows"):
        list(evolving().run(1))
    assert len(teacher.asked) == asked
    options(synthetic_share=0.25)
    (third,) = evolving().run(1)
    assert third.used == 3 and len(synthetic(confused)) == 15


def test_texts_for_annotators_are_hard_and_easy_in_turns_with_the_learners_mistakes_first() -> None:
    texts = [GeneratedText(f"{kind}{n}", kind, right=n < 2) for kind in (HARD, EASY) for n in range(3)]
    assert [text.text for text in steps.for_annotators(texts, 4)] == ["hard2", "easy2", "hard0", "easy0"]
    assert len(steps.for_annotators(texts, 10)) == 6


def test_the_teacher_sees_no_text_of_the_audit_sample(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    answered = [number for number, task in confused.tasks.items() if task["annotations"]]
    store.versions.draw_audit(5, answered)
    list(evolving(TAUGHT).run(1))
    shown = " ".join(question.text for question in teacher.asked[:2])
    assert not [task for task in answered if f'"{confused.tasks[task]["data"]["text"]}"' in shown.replace('\\"', '"')]


def test_a_round_from_the_pool_takes_as_many_calls_as_a_round_that_writes_texts(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    first, second = evolving(POOL, per_round=4).run(2)
    texts = teacher.texts("label")
    assert [question.purpose for question in teacher.asked] == ["label"] * 20 and len(set(texts)) == 20
    assert [text.text for text in (*first.texts, *second.texts)] == texts
    tasks = {task["data"]["text"]: task for task in confused.tasks.values()}
    assert not any(tasks[text]["annotations"] for text in texts)
    assert first.score(POOL)[1] == 10 and "taken for" in first.weaknesses
    assert not synthetic(confused)


def test_a_round_from_the_pool_asks_about_the_evolved_control_alone(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    add_control(confused, store)
    (round_,) = evolving(POOL, per_round=4).run(1)
    assert len(teacher.asked) == 10 and all(len(question.fields) == 1 for question in teacher.asked)
    assert round_.control == "label" and round_.score(POOL)[1] == 10


def test_replies_of_a_round_do_not_count_for_another_control_with_the_same_labels(
    evolving: Callable[..., EvolutionRun], confused: FakeLabelStudio, store: Store
) -> None:
    add_control(confused, store)
    list(evolving(POOL, per_round=4).run(1))
    replies = store.questions.cached_replies(5, "scripted")
    first, second = read_schema(confused.label_config).controls
    assert len(replies.keys_for(first)) == 10 and not replies.keys_for(second)


def test_a_reply_about_all_controls_is_read_for_the_evolved_control() -> None:
    controls = [ChoicesSchema(name, "text", ("fruit", "metal")) for name in ("label", "mood")]
    asked = prompts.label_question(prompts.LabelPrompt(controls), b"key", "a text", "t")
    given = {"label": np.array([0.9, 0.1], np.float32), "mood": np.array([0.1, 0.9], np.float32)}
    replies = [(GeneratedText("a text", POOL), Answer(asked.id, {"label": "fruit", "mood": "metal"}, given), asked)]
    kept = [labelled_texts.labelled(control, replies)[0][0].label for control in controls]
    assert kept == [("fruit",), ("metal",)]


def test_tasks_nearest_to_mistakes_are_chosen_in_proportion_to_each_kind() -> None:
    angles = np.array([0.0, 0.1, 0.2, 1.5, 1.4, 1.3])
    pool = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    mistakes = [pool[[0]], np.array([[0.0, 1.0]], np.float32)]
    assert steps.nearest(pool, mistakes, 4) == [0, 3, 1, 4]
    assert sorted(steps.nearest(pool, mistakes, 99)) == [0, 1, 2, 3, 4, 5]
