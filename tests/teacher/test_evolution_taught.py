"""The texts of EvoKD as lessons: examined before they are taught, and dropped if they are unfit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from authors import Author, synthetic, text_of
from fake_label_studio import FakeLabelStudio
from projects import set_up
from stats_row import measure

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import TaskSchema
from ml_backend.monitoring.status import lines, read_status
from ml_backend.storage import Spending, Store
from ml_backend.teacher import distillation, prompts, teacher_labels
from ml_backend.teacher.evolution import generated_texts, report_text, steps, text_filter
from ml_backend.teacher.evolution.error_analysis import serving, weakness
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, TAUGHT, GeneratedText
from ml_backend.teacher.project_context import visit


def test_the_student_is_examined_before_it_is_taught_and_that_is_the_next_rounds_feedback(
    evolving: Callable[..., EvolutionRun], teacher: Author
) -> None:
    first, second = evolving(TAUGHT).run(2)
    writes = [each for each in teacher.asked if each.purpose == "write"]
    assert '"feedback": ""' in writes[0].text
    right, n = first.score(HARD)
    assert f"Round 1: it got {right} of {n} hard texts right" in writes[1].text
    assert first.texts[0].text in writes[1].text
    assert {each.text for each in second.texts}.isdisjoint(each.text for each in first.texts)
    for each in (*first.texts, *second.texts):
        assert each.right == (each.said == each.label)


def test_what_is_taught_directly_is_no_task_and_stays_among_what_is_taught(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    first, second = evolving(TAUGHT).run(2)
    assert not synthetic(confused) and first.used == second.used == 12
    site = visit(settings, store, 5)
    nobody = teacher_labels.nothing(site.schema)
    taught = generated_texts.taught(store, site.encoder, site.record, site.schema, nobody, "scripted")
    texts = [each for one in (first, second) for each in one.texts]
    assert len(taught.vectors) == 24 and (taught.weights == 1).all()
    assert np.allclose(taught.vectors, site.encoder.encode([each.text for each in texts]), atol=2e-3)
    said = [site.schema.labels[row.argmax()] for row in taught.targets]
    assert said == [each.label[0] for each in texts]
    given = distillation.gather(site.pool, site.record, "logistic", site.schema, nobody, taught)
    assert given.origin.taught == len(given.taught.vectors) == 24


def test_the_learner_of_the_next_round_has_been_taught_the_texts_of_the_last(
    evolving: Callable[..., EvolutionRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    distil = distillation.distil
    monkeypatch.setattr(
        distillation,
        "distil",
        lambda given, *rest, **more: (sizes.append(given.origin.taught), distil(given, *rest, **more))[1],
    )
    assert len(list(evolving(TAUGHT).run(2))) == 2
    assert sizes == [12], "before the first round, nothing was taught that the learner which serves does not know"


def test_what_another_teacher_taught_is_not_judged_by_the_record_of_this_one(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings
) -> None:
    list(evolving(TAUGHT).run(1))
    site = visit(settings, store, 5)
    nobody = teacher_labels.nothing(site.schema)
    for teacher, n in (("scripted", 12), ("another", 0), ("", 0)):
        found = generated_texts.taught(store, site.encoder, site.record, site.schema, nobody, teacher)
        assert len(found.vectors) == len(found.targets) == len(found.weights) == n


def test_a_cue_without_a_vector_is_named(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(store, 5, cues={"fruit": {"description": "", "cues": [["an apple", 9]]}})
    site = visit(settings, store, 5)
    given = distillation.gather(
        site.pool, site.record, "logistic", site.schema, teacher_labels.nothing(site.schema),
        generated_texts.taught(store, site.encoder, site.record, site.schema, teacher_labels.nothing(site.schema), ""),
    )  # fmt: skip
    nan = np.full((len(given.phrases.texts), site.encoder.dim), np.nan, np.float32)
    nan[:1] = 0.0
    monkeypatch.setattr(site.encoder, "encode", lambda _: nan)
    with pytest.raises(ApprenticeError, match="gives the cue 'an apple' a vector that is not finite"):
        distillation.distil(given, False, site.encoder, 0)


def test_what_is_unfit_is_dropped_for_a_reason_that_is_told(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio
) -> None:
    known = next(iter(confused.tasks.values()))["data"]["text"]
    teacher.extra = ["", "  ", "iron " * 200, known, text_of(0, 10)]
    teacher.refuses = "zinc"
    (one,) = evolving(TAUGHT, per_round=11).run(1)
    said = "\n".join(report_text.round_lines(one, Spending()))
    assert one.examples[text_filter.LENGTH] == ("iron " * 200).strip() and one.examples[text_filter.ALIKE_TASK] == known
    assert f'{text_filter.ALIKE_TASK}, such as "{known}"' in said and f"1 {text_filter.LENGTH}" in said
    unclear = sum("zinc" in text.split() for text in {text_of(i, salt) for i in range(6) for salt in (10, 15)})
    assert unclear and one.written == 17
    assert dict(one.dropped) == {
        text_filter.EMPTY: 2, text_filter.LENGTH: 1, text_filter.ALIKE_TASK: 1, text_filter.ALIKE_WRITTEN: 1,
        steps.REFUSED: unclear,
    }  # fmt: skip
    assert len(one.texts) == 17 - 5 - unclear


def test_an_unsure_label_is_none_and_a_round_that_keeps_nothing_says_what_to_set(
    evolving: Callable[..., EvolutionRun], teacher: Author
) -> None:
    teacher.sure = 0.55
    (one,) = evolving(TAUGHT).run(1)
    assert not one.texts and dict(one.dropped) == {steps.UNSURE: 12} and one.used == 0
    said = "\n".join(report_text.round_lines(one, Spending()))
    assert "nothing is kept, most of it for: unsure label." in said
    assert "set teacher_probabilities to stated or samples in the project's extra params" in said
    teacher.failing = {"write"}
    (one,) = evolving(TAUGHT).run(1)
    assert "nothing is kept: the teacher's reply had no texts" in "\n".join(report_text.round_lines(one, Spending()))


def test_feedback_has_hard_and_easy_texts_with_what_the_learner_said_and_mistakes_first() -> None:
    texts = [
        GeneratedText(f"{kind} {n}", kind, ("fruit",), said=("fruit",) if n < 4 else ("metal",), right=n < 4)
        for kind in (HARD, EASY)
        for n in range(10)
    ]
    first, last = (
        generated_texts.EvolutionRound(n, TAUGHT, "t", 10, "", texts=tuple(texts), done=True) for n in (1, 2)
    )
    lines = steps.feedback([first, last]).splitlines()
    assert lines[0] == "Round 1: it got 4 of 10 hard texts right and 4 of 10 easy ones."
    assert lines[1] == '  hard: "hard 4" wrong: it is fruit, not metal'
    told = lines[lines.index("Round 2: it got 4 of 10 hard texts right and 4 of 10 easy ones.") + 1 :]
    assert [line.split(":")[0].strip() for line in told] == ["hard"] * steps.LATEST + ["easy"] * steps.LATEST
    assert told[0].endswith("not metal") and steps.feedback([replace(first, texts=tuple(texts[:1]))]).endswith(
        '  hard: "hard 0" right: fruit'
    )


def test_examples_for_writing_are_answered_tasks_of_each_label_with_their_label_and_never_what_is_measured_by(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    answers = {
        task["data"]["text"]: task["annotations"][0]["result"][0]["value"]["choices"][0]
        for task in confused.tasks.values()
        if task["annotations"]
    }
    numbers = {task["data"]["text"]: number for number, task in confused.tasks.items()}
    (one,) = evolving(TAUGHT).run(1)
    (asked,) = (each for each in teacher.asked if each.purpose == "write")
    examples = json.loads(asked.text)["examples"]
    assert len(examples) == steps.LIKE and all(answers[each["text"]] == each["label"] for each in examples)
    assert {each["label"] for each in examples} == {"fruit", "metal", "animal"}
    assert {numbers[each["text"]] for each in examples} <= set(one.shown)
    store.versions.draw_audit(5, [numbers[text] for text in answers])
    (one,) = evolving(TAUGHT).run(1)
    examples = json.loads([each for each in teacher.asked if each.purpose == "write"][-1].text)["examples"]
    assert len(examples) == steps.LIKE and not any("label" in each for each in examples) and one.shown == ()


def test_report_and_status_say_how_many_answers_the_teacher_was_shown(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings
) -> None:
    site = visit(settings, store, 5)
    before = weakness(site, serving(site))
    assert before.shown == 0 and report_text.caveat(before) == ""
    (one,) = evolving(TAUGHT).run(1)
    report = weakness(site, serving(site))
    assert 0 < report.shown == len(one.shown) < report.n
    assert report_text.caveat(report).startswith(f"{len(one.shown)} of these 60 tasks were shown to the teacher")
    measure(store)
    assert dict(lines(read_status(store, 5)))["seen by teacher"].startswith(f"{len(one.shown)} of the 60 answers")


def test_the_first_diagnosis_is_of_the_learner_that_serves_as_the_report_has_it(
    evolving: Callable[..., EvolutionRun], teacher: Author, store: Store, settings: Settings
) -> None:
    site = visit(settings, store, 5)
    report = report_text.lines(weakness(site, serving(site), store.versions.audited(5)))
    list(evolving(TAUGHT).run(1))
    assert json.loads(teacher.asked[0].text)["figures"] == "\n".join(report)


def test_a_refusal_makes_another_question_with_one_more_answer(single: TaskSchema) -> None:
    plain = prompts.label(single, b"key", "a text", "t", {})
    free = prompts.label(single, b"key", "a text", "t", {}, "unclear")
    assert free.labels == (*single.labels, "unclear") and free.id != plain.id
    assert free.reply["properties"]["label"]["enum"] == list(free.labels) and "unclear" in free.instructions


def test_of_several_labels_none_at_all_is_refused_and_every_decision_must_be_sure(multiple: TaskSchema) -> None:
    asked = [prompts.label(multiple, b"key", "a text", "t", {}, steps.REFUSAL)] * 4
    shares = ([0.9, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], [0.9, 0.5, 0.1, 0.1], [0.9, 0.1, 0.1, 0.8])
    answers = [Answer("q", {"label": []}, np.array(row, np.float32)) for row in shares]
    texts = [GeneratedText(f"{n}", HARD) for n in range(4)]
    kept, dropped = steps.labelled(multiple, list(zip(texts, answers, asked, strict=True)))
    assert [(each.text, each.label) for each in kept] == [("0", ("fruit",))]
    assert dropped == [(steps.REFUSED, "1"), (steps.UNSURE, "2"), (steps.REFUSED, "3")]
