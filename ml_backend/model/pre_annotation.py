"""Makes drafts (pre-annotations) from the probabilities of the learner and of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft
from ml_backend.evaluation.metrics import decide_labels
from ml_backend.kinds.choices.hierarchy import consistent_decisions
from ml_backend.model.explanations import explain_drafts
from ml_backend.model.fitted_model import FittedModel


@dataclass(frozen=True, slots=True)
class DraftedTasks:
    """The n tasks that drafts are made for.

    texts                  (n,) their texts, or records as text
    vectors                (n, d) their vectors
    teacher_probabilities  (n, c) the annotators' labels as expected from the teacher's label and its confusion model;
                           NaN in rows without a teacher label; None without a teacher
    is_generated           (n,) bool: texts that the teacher wrote. They get the teacher's draft if there is one. None
                           without such texts
    """

    texts: Sequence[str]
    vectors: Floats
    teacher_probabilities: Floats | None = None
    is_generated: Mask | None = None


def make_drafts(
    settings: Settings,
    schema: ProjectSchema,
    learner: FittedModel | None,
    tasks: DraftedTasks,
    record_encoder: RecordEncoder | None = None,
) -> list[Draft | None]:
    """A draft for each task: the learner's, or the teacher's where the teacher is more likely to be right.

    Before there is a learner, the embedded teacher drafts where the teacher has no label. The embedded teacher cannot
    draft records, whose draft is None then.

    record_encoder  the encoder of records, with which the learner's drafts are explained
    """
    texts, vectors, teacher_probabilities = tasks.texts, tasks.vectors, tasks.teacher_probabilities
    if not len(vectors):
        return []
    if learner:
        probabilities = learner.predict(schema.control, vectors)
    elif schema.input.is_record:
        probabilities = np.zeros((len(vectors), len(schema.control.labels)), np.float32)
    else:
        probabilities = registry.drafter(registry.encoder(settings.encoder)).draft(texts, vectors, schema.control)
    by_teacher: Mask = np.zeros(len(vectors), np.bool_)
    if teacher_probabilities is not None:
        has_label = ~np.isnan(teacher_probabilities).any(axis=1)
        teacher_confidence = np.nan_to_num(confidence(teacher_probabilities, schema.control.multiple))
        is_preferred = teacher_confidence > confidence(probabilities, schema.control.multiple)
        is_preferred |= (learner is None) | (False if tasks.is_generated is None else tasks.is_generated)
        by_teacher = np.asarray(has_label & is_preferred)
        probabilities = np.where(by_teacher[:, None], np.nan_to_num(teacher_probabilities), probabilities)
    authors: list[Literal["learner", "teacher"]] = [
        "teacher" if from_teacher or learner is None else "learner" for from_teacher in by_teacher
    ]
    decided = decide_labels(probabilities, schema.control.multiple)
    chosen = consistent_decisions(decided, probabilities, schema.control)
    labels, confidences = np.array(schema.control.labels), confidence(probabilities, schema.control.multiple)
    explanations: list[tuple[str, ...]] = [() for _ in texts]
    if learner and record_encoder:
        explanations = explain_drafts(learner, schema.control, record_encoder, texts, vectors, chosen)
    rows = zip(chosen, confidences, authors, explanations, by_teacher, strict=True)
    return [
        Draft(tuple(labels[mask].tolist()), float(row_confidence), author, explanation if author == "learner" else ())
        if learner or from_teacher or not schema.input.is_record
        else None
        for mask, row_confidence, author, explanation, from_teacher in rows
    ]


def explanation_text(draft: Draft) -> str:
    """The explanation of a draft, in words; "" if it has none."""
    return f" because of {' and '.join(draft.explanation)}" if draft.explanation else ""


def confidence(probabilities: Floats, multiple: bool) -> Floats:
    """(n,) the probability of the chosen label; with several choices, the mean probability that a label is decided
    rightly."""
    if multiple:
        return np.asarray(np.maximum(probabilities, 1 - probabilities).mean(axis=1))
    return np.asarray(probabilities.max(axis=1))
