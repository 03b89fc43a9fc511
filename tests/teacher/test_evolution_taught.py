"""The texts of EvoKD as lessons: examined before they are taught, and dropped if they are unfit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from authors import Author, synthetic, text_of
from fake_label_studio import FakeLabelStudio
from projects import set_up
from schemas import CONTROL, as_choices, choices_control
from stats_row import write_stats_row

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ChoicesSchema, ControlSchema, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer, LabelField
from ml_backend.kinds import reply_problems
from ml_backend.model.fitted_model import FittedModel
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.evolution_text import report_lines, round_lines
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Spending, Store
from ml_backend.teacher import distillation, prompts, teacher_labels
from ml_backend.teacher.evolution import analysis_prompt, generated_texts, labelled_texts, steps
from ml_backend.teacher.evolution.error_analysis import analyse_errors, load_serving_learner
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, POOL, TAUGHT, GeneratedText
from ml_backend.teacher.project_context import load_project_context


def test_the_learner_predicts_texts_before_it_is_trained_on_them_and_the_result_is_the_next_feedback(
    evolving: Callable[..., EvolutionRun], teacher: Author
) -> None:
    first, second = evolving(TAUGHT).run(2)
    writes = [question for question in teacher.asked if question.purpose == "write"]
    assert '"feedback": ""' in writes[0].text
    right, n = first.score(HARD)
    assert f"Round 1: it got {right} of {n} hard texts right" in writes[1].text
    assert first.texts[0].text in writes[1].text
    assert {text.text for text in second.texts}.isdisjoint(text.text for text in first.texts)
    for text in (*first.texts, *second.texts):
        assert text.right == (text.said == text.label)


def test_texts_for_distillation_become_no_tasks_and_stay_in_the_pseudo_labels(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    first, second = evolving(TAUGHT).run(2)
    assert not synthetic(confused) and first.used == second.used == 12
    context = load_project_context(settings, store, 5)
    no_labels = teacher_labels.no_teacher_labels(context.schema.controls[0])
    taught = generated_texts.pseudo_labels_of_texts(
        store, context.encoder, context.project_row, context.schema.controls[0], no_labels, "scripted"
    )
    texts = [text for round_ in (first, second) for text in round_.texts]
    assert len(taught.vectors) == 24 and (taught.weights == 1).all()
    assert np.allclose(taught.vectors, context.encoder.encode([text.text for text in texts]), atol=2e-3)
    labels = [context.schema.controls[0].labels[row.argmax()] for row in taught.targets]
    assert labels == [text.label[0] for text in texts]
    data = distillation.collect_distillation_input(context, "logistic", no_labels, taught)
    assert data.origin.taught == len(data.taught.vectors) == 24


def test_the_learner_of_the_next_round_is_distilled_from_the_texts_of_the_last(
    evolving: Callable[..., EvolutionRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    distil = distillation.distil
    monkeypatch.setattr(
        distillation,
        "distil",
        lambda data, *rest, **more: (sizes.append(data.origin.taught), distil(data, *rest, **more))[1],
    )
    assert len(list(evolving(TAUGHT).run(2))) == 2
    assert sizes == [12], "before the first round, nothing was taught that the learner which serves does not know"


def test_texts_of_another_teacher_are_not_corrected_by_this_teachers_confusion_matrix(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings
) -> None:
    list(evolving(TAUGHT).run(1))
    context = load_project_context(settings, store, 5)
    no_labels = teacher_labels.no_teacher_labels(context.schema.controls[0])
    for teacher, n in (("scripted", 12), ("another", 0), ("", 0)):
        pseudo_labels = generated_texts.pseudo_labels_of_texts(
            store, context.encoder, context.project_row, context.schema.controls[0], no_labels, teacher
        )
        assert len(pseudo_labels.vectors) == len(pseudo_labels.targets) == len(pseudo_labels.weights) == n


def test_a_cue_without_a_vector_is_named(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(store, 5, label_descriptions={"fruit": {"description": "", "cues": [["an apple", 9]]}})
    context = load_project_context(settings, store, 5)
    no_labels = teacher_labels.no_teacher_labels(context.schema.controls[0])
    taught = generated_texts.pseudo_labels_of_texts(
        store, context.encoder, context.project_row, context.schema.controls[0], no_labels, ""
    )
    data = distillation.collect_distillation_input(context, "logistic", no_labels, taught)
    nan = np.full((len(data.phrases.texts), context.encoder.dim), np.nan, np.float32)
    nan[:1] = 0.0
    monkeypatch.setattr(context.encoder, "encode", lambda _: nan)
    with pytest.raises(ApprenticeError, match="gives the cue 'an apple' a vector that is not finite"):
        distillation.distil(data, context.schema.controls[0], context.encoder, 0)


def test_unusable_texts_are_dropped_and_reported_with_the_reason(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio
) -> None:
    existing_text = next(iter(confused.tasks.values()))["data"]["text"]
    teacher.extra = ["", "  ", "iron " * 200, existing_text, text_of(0, 10)]
    teacher.refuses = "zinc"
    (round_,) = evolving(TAUGHT, per_round=11).run(1)
    output = "\n".join(round_lines(round_, Spending()))
    assert (
        round_.examples[generated_texts.WRONG_LENGTH] == ("iron " * 200).strip()
        and round_.examples[generated_texts.DUPLICATE_OF_TASK] == existing_text
    )
    assert (
        f'{generated_texts.DUPLICATE_OF_TASK}, such as "{existing_text}"' in output
        and f"1 {generated_texts.WRONG_LENGTH}" in output
    )
    unclear = sum("zinc" in text.split() for text in {text_of(i, salt) for i in range(6) for salt in (10, 15)})
    assert unclear and round_.written == 17
    assert dict(round_.dropped) == {
        generated_texts.EMPTY: 2, generated_texts.WRONG_LENGTH: 1, generated_texts.DUPLICATE_OF_TASK: 1,
        generated_texts.DUPLICATE_OF_TEXT: 1,
        reply_problems.REFUSED: unclear,
    }  # fmt: skip
    assert len(round_.texts) == 17 - 5 - unclear


def test_a_round_whose_labels_are_all_refused_advises_cues_of_the_control(
    evolving: Callable[..., EvolutionRun],
) -> None:
    (round_,) = evolving(TAUGHT).run(1)
    refused = replace(round_, texts=(), dropped={reply_problems.REFUSED: 3})
    output = "\n".join(round_lines(refused, Spending(), " --control mood"))
    assert "say in `apprentice cues --control mood --edit` what the labels mean" in output


def test_texts_with_an_unsure_label_are_dropped_and_a_round_that_keeps_none_names_the_setting(
    evolving: Callable[..., EvolutionRun], teacher: Author
) -> None:
    teacher.sure = 0.55
    (round_,) = evolving(TAUGHT).run(1)
    assert not round_.texts and dict(round_.dropped) == {reply_problems.UNSURE: 12} and round_.used == 0
    output = "\n".join(round_lines(round_, Spending()))
    assert "nothing is kept, most of it for: unsure label." in output
    assert "set teacher_probabilities to stated or samples in the project's extra params" in output
    teacher.failing = {"write"}
    (round_,) = evolving(TAUGHT).run(1)
    assert "nothing is kept: the teacher's reply had no texts" in "\n".join(round_lines(round_, Spending()))


def test_feedback_has_hard_and_easy_texts_with_the_learners_predictions_and_mistakes_first() -> None:
    texts = [
        GeneratedText(f"{kind} {n}", kind, ("fruit",), said=("fruit",) if n < 4 else ("metal",), right=n < 4)
        for kind in (HARD, EASY)
        for n in range(10)
    ]
    first, last = (
        generated_texts.EvolutionRound(n, CONTROL, TAUGHT, "t", 10, "", texts=tuple(texts), done=True) for n in (1, 2)
    )
    lines = steps.feedback([first, last]).splitlines()
    assert lines[0] == "Round 1: it got 4 of 10 hard texts right and 4 of 10 easy ones."
    assert lines[1] == '  hard: "hard 4" wrong: it is fruit, not metal'
    latest_lines = lines[lines.index("Round 2: it got 4 of 10 hard texts right and 4 of 10 easy ones.") + 1 :]
    assert [line.split(":")[0].strip() for line in latest_lines] == ["hard"] * steps.LATEST_FEEDBACK_TEXTS + [
        "easy"
    ] * steps.LATEST_FEEDBACK_TEXTS
    assert latest_lines[0].endswith("not metal") and steps.feedback([replace(first, texts=tuple(texts[:1]))]).endswith(
        '  hard: "hard 0" right: fruit'
    )


def test_examples_for_writing_are_annotated_tasks_of_each_label_and_none_of_the_audit_sample(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    answers = {
        task["data"]["text"]: task["annotations"][0]["result"][0]["value"]["choices"][0]
        for task in confused.tasks.values()
        if task["annotations"]
    }
    numbers = {task["data"]["text"]: number for number, task in confused.tasks.items()}
    (round_,) = evolving(TAUGHT).run(1)
    (asked,) = (question for question in teacher.asked if question.purpose == "write")
    examples = json.loads(asked.text)["examples"]
    assert len(examples) == steps.EXAMPLE_COUNT and all(
        answers[example["text"]] == example["label"] for example in examples
    )
    assert {example["label"] for example in examples} == {"fruit", "metal", "animal"}
    assert {numbers[example["text"]] for example in examples} <= set(round_.shown)
    store.versions.draw_audit(5, [numbers[text] for text in answers])
    (round_,) = evolving(TAUGHT).run(1)
    examples = json.loads([question for question in teacher.asked if question.purpose == "write"][-1].text)["examples"]
    assert (
        len(examples) == steps.EXAMPLE_COUNT
        and not any("label" in example for example in examples)
        and round_.shown == ()
    )


def test_report_and_status_show_how_many_annotated_tasks_the_teacher_saw(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings
) -> None:
    context = load_project_context(settings, store, 5)
    before = analyse_errors(context, load_serving_learner(context))
    assert before.shown == 0 and report_lines(before) == analysis_prompt.error_analysis_lines(before)
    (round_,) = evolving(TAUGHT).run(1)
    report = analyse_errors(context, load_serving_learner(context))
    assert 0 < report.shown == len(round_.shown) < report.n
    assert report_lines(report)[-1].startswith(f"{len(round_.shown)} of these 60 tasks were shown to the teacher")
    write_stats_row(store)
    assert dict(status_lines(read_status(store, 5)))["seen by teacher"].startswith(
        f"{len(round_.shown)} of the 60 answers"
    )


def test_the_first_diagnosis_has_the_error_analysis_of_the_serving_learner(
    evolving: Callable[..., EvolutionRun], teacher: Author, store: Store, settings: Settings
) -> None:
    context = load_project_context(settings, store, 5)
    report = analysis_prompt.error_analysis_lines(
        analyse_errors(context, load_serving_learner(context), store.versions.audited(5))
    )
    list(evolving(TAUGHT).run(1))
    assert json.loads(teacher.asked[0].text)["figures"] == "\n".join(report)


def test_a_question_that_may_be_refused_has_another_id_and_one_more_label(single: ProjectSchema) -> None:
    plain = prompts.label_question(prompts.LabelPrompt([single.controls[0]]), b"key", "a text", "t")
    free = prompts.label_question(prompts.LabelPrompt([single.controls[0]], refusal="unclear"), b"key", "a text", "t")
    labels = (*single.controls[0].labels, "unclear")
    assert free.fields == (LabelField("label", labels),) and free.id != plain.id
    assert free.reply["properties"]["label"]["enum"] == list(labels) and "unclear" in free.instructions


def test_with_several_choices_a_text_without_labels_is_refused_and_each_decision_must_be_confident(
    multiple: ProjectSchema,
) -> None:
    asked = [
        prompts.label_question(
            prompts.LabelPrompt([multiple.controls[0]], refusal=labelled_texts.REFUSAL), b"key", "a text", "t"
        )
    ] * 4
    shares = ([0.9, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], [0.9, 0.5, 0.1, 0.1], [0.9, 0.1, 0.1, 0.8])
    answers = [Answer("q", {"label": []}, {"label": np.array(row, np.float32)}) for row in shares]
    texts = [GeneratedText(f"{n}", HARD) for n in range(4)]
    replies = list(zip(texts, answers, asked, strict=True))
    kept, dropped = labelled_texts.labelled(as_choices(multiple.controls[0]), replies)
    assert [(text.text, text.label) for text in kept] == [("0", ("fruit",))]
    assert dropped == [(reply_problems.REFUSED, "1"), (reply_problems.UNSURE, "2"), (reply_problems.REFUSED, "3")]


def labels_given(control: ChoicesSchema, *shares: float) -> tuple[str, ...]:
    """The labels that a text gets from the teacher's probabilities."""
    prompt = prompts.LabelPrompt([control], refusal=labelled_texts.REFUSAL)
    asked = prompts.label_question(prompt, b"key", "a text", "t")
    answer = Answer("q", {"label": []}, {"label": np.array([*shares, 0.0], np.float32)})
    kept, _ = labelled_texts.labelled(control, [(GeneratedText("a text", POOL), answer, asked)])
    return kept[0].label


def test_a_text_gets_the_ancestors_of_its_labels() -> None:
    tree = choices_control(["plant", "plant > tree", "animal"], multiple=True, parents=(-1, 0, -1), tag="Taxonomy")
    assert labels_given(tree, 0.3, 0.9, 0.1) == ("plant", "plant > tree")


def test_a_text_gets_the_median_of_the_ratings() -> None:
    stars = choices_control(["1", "2", "3", "4", "5"], ordered=True, tag="Rating")
    assert labels_given(stars, 0.4, 0.0, 0.3, 0.3, 0.0) == ("3",)


def test_a_prediction_for_a_text_is_decided_as_a_draft_is(
    evolving: Callable[..., EvolutionRun], store: Store, settings: Settings
) -> None:
    stars = choices_control(["1", "2", "3"], ordered=True, tag="Rating")

    class Rater:
        def predict(self, control: ControlSchema, vectors: Floats, texts: object = None) -> Floats:
            return np.tile(np.array([0.4, 0.3, 0.3], np.float32), (len(vectors), 1))

    context = replace(load_project_context(settings, store, 5), control=stars)
    texts = (GeneratedText("an apple", HARD, ("2",)), GeneratedText("a pear", HARD, ("1",)))
    round_ = generated_texts.EvolutionRound(1, CONTROL, TAUGHT, "t", 2, "", texts=texts)
    examined = labelled_texts.examined(context, cast(FittedModel, Rater()), round_)
    assert [(text.said, text.right) for text in examined.texts] == [(("2",), True), (("2",), False)]
