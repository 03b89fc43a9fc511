"""Makes drafts (pre-annotations) from the probabilities of the learner and of the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.ports import Drafter, RecordEncoder
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft
from ml_backend.kinds.choices.pairs import is_undecided
from ml_backend.kinds.choices.scoring import decide
from ml_backend.model.explanations import explain_drafts
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.hidden_drafts import without_hidden
from ml_backend.pool import feature_space


@dataclass(frozen=True, slots=True)
class DraftedTasks:
    """The n tasks that drafts are made for.

    texts                  (n,) their texts, or records as text
    vectors                (n, d) their vectors
    teacher_probabilities  for each control (n, c) the annotators' labels as expected from the teacher's label and its
                           confusion model; NaN in rows without a teacher label; no controls without a teacher
    is_generated           (n,) bool: texts that the teacher wrote. They get the teacher's draft if there is one. None
                           without such texts
    """

    texts: Sequence[str]
    vectors: Floats
    teacher_probabilities: Mapping[str, Floats] = field(default_factory=dict)
    is_generated: Mask | None = None


def make_drafts(
    settings: Settings,
    schema: ProjectSchema,
    models: Mapping[str, FittedModel],
    tasks: DraftedTasks,
    record_encoder: RecordEncoder | None = None,
) -> list[dict[str, Draft]]:
    """The drafts for each task, by the name of the control; see `without_hidden` for a control that may stay hidden.

    models          the learner of each control that has one
    record_encoder  the encoder of records, with which the learners' drafts are explained
    """
    drafts: list[dict[str, Draft]] = [{} for _ in tasks.texts]
    encoder = feature_space.text_encoder(settings, schema.input)
    drafter = None if schema.input.is_record else registry.drafter(encoder)
    for control in schema.controls if len(tasks.vectors) else ():
        control_drafter = None if control.antisymmetric else drafter  # the names of the sides mean nothing
        of_control = _control_drafts(control, models.get(control.name), tasks, control_drafter, record_encoder)
        for task_drafts, draft in zip(drafts, of_control, strict=True):
            if draft is not None:
                task_drafts[control.name] = draft
    return [without_hidden(task_drafts, schema) for task_drafts in drafts]


def _control_drafts(
    control: ControlSchema,
    learner: FittedModel | None,
    tasks: DraftedTasks,
    drafter: Drafter | None,
    record_encoder: RecordEncoder | None,
) -> list[Draft | None]:
    """A draft of one control for each task: the learner's, or the teacher's where the teacher is more likely to be
    right.

    Before there is a learner, the embedded teacher drafts where the teacher has no label. The embedded teacher cannot
    draft records and comparisons, whose draft is None then. A comparison has no draft either if both sides are equally
    probable.

    drafter  the embedded teacher, None for records and comparisons
    """
    texts, vectors = tasks.texts, tasks.vectors
    teacher_probabilities = tasks.teacher_probabilities.get(control.name)
    if learner:
        probabilities = learner.predict(control, vectors)
    elif drafter is None:
        probabilities = np.zeros((len(vectors), len(control.labels)), np.float32)
    else:
        probabilities = drafter.draft(texts, vectors, control)
    by_teacher: Mask = np.zeros(len(vectors), np.bool_)
    if teacher_probabilities is not None:
        has_label = ~np.isnan(teacher_probabilities).any(axis=1)
        own_confidence, teacher_confidence = (
            confidence(each, decide(each, control), control.multiple) for each in (probabilities, teacher_probabilities)
        )
        is_preferred = np.nan_to_num(teacher_confidence) > own_confidence
        is_preferred |= (learner is None) | (False if tasks.is_generated is None else tasks.is_generated)
        by_teacher = np.asarray(has_label & is_preferred)
        probabilities = np.where(by_teacher[:, None], np.nan_to_num(teacher_probabilities), probabilities)
    authors: list[Literal["learner", "teacher"]] = [
        "teacher" if from_teacher or learner is None else "learner" for from_teacher in by_teacher
    ]
    chosen = decide(probabilities, control)
    labels, confidences = np.array(control.labels), confidence(probabilities, chosen, control.multiple)
    explanations: list[tuple[str, ...]] = [() for _ in texts]
    if learner and record_encoder:
        explanations = explain_drafts(learner, control, record_encoder, texts, vectors, chosen)
    has_draft = by_teacher | (learner is not None or drafter is not None)
    if control.antisymmetric:
        has_draft &= ~is_undecided(probabilities)
    rows = zip(chosen, confidences, authors, explanations, has_draft, strict=True)
    return [
        Draft(tuple(labels[mask].tolist()), float(row_confidence), author, explanation if author == "learner" else ())
        if is_drafted
        else None
        for mask, row_confidence, author, explanation, is_drafted in rows
    ]


def draft_origin(drafts: Mapping[str, Draft], possessive: str = "'s draft") -> str:
    """The author of the drafts for a task and their explanations, in words; "no draft" without drafts. `possessive`
    follows the author."""
    words = {
        control: f"{draft.author}{possessive}"
        + (f" because of {' and '.join(draft.explanation)}" if draft.explanation else "")
        for control, draft in drafts.items()
    }
    if len(set(words.values())) <= 1:
        return next(iter(words.values()), "no draft")
    return "; ".join(f"{control}: {text}" for control, text in words.items())


def confidence(probabilities: Floats, chosen: Mask, multiple: bool) -> Floats:
    """(n,) the probability of the chosen label; with several choices, the mean probability that a label is decided
    rightly.

    probabilities (n, c); chosen (n, c) bool: the labels of the drafts, from `decide`
    """
    if multiple:
        return np.asarray(np.where(chosen, probabilities, 1 - probabilities).mean(axis=1))
    return np.asarray((probabilities * chosen).sum(axis=1))


def lowest_confidence(drafts: Mapping[str, Draft]) -> float:
    """The lowest confidence of the drafts for a task, 0 without drafts."""
    return min((draft.confidence for draft in drafts.values()), default=0.0)
