"""The acceptance of drafts, compared with counting by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from fake_label_studio import SINGLE
from projects import set_up
from schemas import CONTROL, as_choices, by_control, fitted_choices, labelled
from stats_row import write_stats_row

from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import Annotation, Draft, EstimateSource, TaskContent, content_key
from ml_backend.evaluation.metrics import wilson_interval
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import (
    Agreement,
    DraftAcceptance,
    agreement,
    learner_agreement,
    learner_draft_share,
)
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.storage import PublishedDraft, Store
from ml_backend.teacher import prompts

SCHEMA = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema(CONTROL, "text", ("fruit", "metal", "animal")),))


def shown(task: int, author: str | None, *choices: str) -> PublishedDraft:
    draft = Draft(choices, 0.5, "teacher" if author == "teacher" else "learner") if author else None
    return PublishedDraft(task, "v1", 0, by_control(draft))


def answer(task: int, *choices: str, number: int = 0, skip: bool = False) -> Annotation:
    return Annotation(number or task, task, 1, labelled(*choices), skip)


def acceptance_of(*annotated: tuple[PublishedDraft, Annotation]) -> AcceptanceCounts:
    """The counts of tasks with one published draft and one annotation each."""
    counts = AcceptanceCounts(SCHEMA.controls[0])
    for draft, annotation in annotated:
        counts.update(draft.task, draft, [annotation])
    return counts


def test_a_draft_is_accepted_edited_or_replaced_and_counts_for_its_author() -> None:
    counts = acceptance_of(
        (shown(1, "teacher", "fruit"), answer(1, "fruit")),
        (shown(2, "teacher", "fruit"), answer(2, "metal")),
        (shown(3, "learner", "fruit", "metal"), answer(3, "metal", "fruit")),
        (shown(4, "learner", "fruit", "metal"), answer(4, "fruit")),
        (shown(5, "learner", "fruit"), answer(5, "fruit", "metal")),
        (shown(6, "learner"), answer(6)),
        (shown(7, "learner", "fruit"), answer(7)),
        (shown(8, None), answer(8, "fruit")),
    )
    received = counts.without(()).acceptance
    assert received == {"teacher": DraftAcceptance(1, 0, 1), "learner": DraftAcceptance(2, 2, 1)}


def test_an_annotation_that_could_not_be_read_is_not_counted() -> None:
    unread = replace(answer(1), labels=labelled("obst", unread="label"))
    received = acceptance_of((shown(1, "teacher", "fruit"), unread)).without(()).acceptance
    assert received == {"teacher": DraftAcceptance(), "learner": DraftAcceptance()}


def test_the_first_annotation_is_compared_with_the_draft() -> None:
    counts = AcceptanceCounts(SCHEMA.controls[0])
    annotations = [answer(1, "metal", number=30), answer(1, number=10, skip=True), answer(1, "fruit", number=20)]
    counts.update(1, shown(1, "teacher", "fruit"), annotations)
    counts.update(2, shown(2, "teacher", "fruit"), [answer(2, number=40, skip=True)])
    counts.update(3, shown(3, "teacher", "fruit"), [])
    received = counts.without(()).acceptance
    assert received["teacher"] == DraftAcceptance(accepted=1)


def test_the_learners_share_does_not_count_tasks_without_a_draft() -> None:
    share = learner_draft_share(
        [shown(1, "learner"), shown(2, None), shown(3, "teacher"), shown(4, "learner")], CONTROL
    )
    assert share is not None and (share.value, share.n) == (2 / 3, 3)
    assert learner_draft_share([shown(2, None)], CONTROL) is None


def test_a_class_has_the_tasks_to_which_the_annotators_gave_its_label() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.4, 0.6, 0]], np.float32)
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0.5, 0.5, 0]], np.float32)  # the last one a tie
    measured = agreement(probabilities, targets, SCHEMA.controls[0], EstimateSource.TEACHER_LABELS)
    assert measured.overall == wilson_interval(3, 4, EstimateSource.TEACHER_LABELS)
    assert measured.by_class == {
        "fruit": wilson_interval(1, 2, EstimateSource.TEACHER_LABELS),
        "metal": wilson_interval(2, 3, EstimateSource.TEACHER_LABELS),
    }


def test_with_several_choices_a_superfluous_label_is_a_disagreement_on_that_label() -> None:
    probabilities = np.array([[0.9, 0.9, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]], np.float32)
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0.5]], np.float32)  # annotators are split on the last task
    control = replace(as_choices(SCHEMA.controls[0]), multiple=True)
    measured = agreement(probabilities, targets, control, EstimateSource.TEACHER_LABELS)
    assert measured.overall == wilson_interval(2, 3, EstimateSource.TEACHER_LABELS), "split annotators accept both"
    assert measured.by_class == {
        "fruit": wilson_interval(1, 1, EstimateSource.TEACHER_LABELS),
        "metal": wilson_interval(1, 2, EstimateSource.TEACHER_LABELS),
    }


def test_the_agreement_of_the_teacher_uses_its_latest_label_of_each_annotated_task(store: Store) -> None:
    texts = {1: "one", 2: "two", 3: "two", 4: "four", 5: "five"}
    store.tasks.put(5, [TaskContent(task, text, content_key(text)) for task, text in texts.items()])
    set_up(store, 5, label_config=SINGLE)
    replies = [("one", "scripted", "metal"), ("one", "scripted", "fruit"), ("two", "scripted", "metal"),
               ("four", "another", "metal"), ("five", "scripted", "metal")]  # fmt: skip
    for number, (text, teacher, label) in enumerate(replies):
        question = replace(
            prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text), text, teacher),
            id=f"q{number}",
        )
        store.questions.add(5, teacher, [(question, content_key(text))])
        probabilities = np.array([label == name for name in SCHEMA.controls[0].labels], np.float32)
        store.questions.store_answer(5, Answer(question.id, {"label": label}, {"label": probabilities}), [])

    def measured_agreement(teacher: str) -> Any:
        set_up(store, 5, teacher={"name": teacher})
        write_stats_row(store)
        return store.stats.document(5)["controls"][CONTROL]["teacher"]["agreement"]["teacher"]

    assert measured_agreement("scripted") == {"overall": None, "by_class": {}}
    store.annotations.put(5, [answer(1, "fruit"), answer(2, "metal"), answer(3, "fruit"), answer(4, "metal")])
    measured = measured_agreement("scripted")
    assert (measured["overall"]["value"], measured["overall"]["n"]) == (2 / 3, 3)
    assert {label: (share["value"], share["n"]) for label, share in measured["by_class"].items()} == {
        "fruit": (0.5, 2), "metal": (1.0, 1),
    }  # fmt: skip
    assert measured_agreement("nobody") == {"overall": None, "by_class": {}}


def test_the_agreement_of_the_learner_is_cross_validated() -> None:
    no_tasks = np.empty(0, np.int64)
    assert learner_agreement(None, SCHEMA.controls[0], no_tasks) == Agreement()
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    control = fitted_choices(SCHEMA.controls[0].labels)
    snapshot = TrainingSnapshot("logistic", "fake", control, np.arange(3), b"", targets)
    held_out = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    model = FittedModel(1, snapshot, {"weight": np.eye(3)}, held_out, "labels", {"none": 1.0, "labels": 0.5})
    result = learner_agreement(model, SCHEMA.controls[0], no_tasks)
    assert result.overall is not None
    assert (result.overall.value, result.overall.n) == (2 / 3, 3)
    assert (result.by_class["metal"].value, result.by_class["fruit"].value) == (0.0, 1.0)
    without_one = learner_agreement(model, SCHEMA.controls[0], np.array([1]))
    assert without_one.overall is not None
    assert (without_one.overall.value, without_one.overall.n) == (1.0, 2)
