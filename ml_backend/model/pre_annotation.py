"""Probabilities -> the answer that the annotator finds already filled in: whoever is expected to be right says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ml_backend.core import registry
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft, Floats, Mask, TaskSchema
from ml_backend.evaluation.metrics import decide
from ml_backend.model.explanations import reasons
from ml_backend.model.fitted_model import FittedModel


def draft(
    settings: Settings,
    schema: TaskSchema,
    learner: FittedModel | None,
    texts: Sequence[str],
    vectors: Floats,
    expected: Floats | None = None,
    own: Mask | None = None,
    records: RecordEncoder | None = None,
) -> list[Draft | None]:
    """One draft a row: the learner's, or the teacher's where that is more likely to be right. Of `records`, the
    learner's come with its reasons, and before there is a learner nobody else has a draft: None.

    expected  (n, c) what the annotators would say by the teacher's word and its record here, NaN where it has said
              nothing; None if nobody can be asked. Before there is a learner, the embedded teacher speaks where the
              other one is silent.
    own       (n,) which of the texts the teacher wrote: what it says of those stands, however sure the learner is
    """
    if not len(vectors):
        return []
    if learner:
        probabilities = learner.predict(schema, vectors)
    elif schema.is_record:
        probabilities = np.zeros((len(vectors), len(schema.labels)), np.float32)
    else:
        probabilities = registry.drafter(registry.encoder(settings.encoder)).draft(texts, vectors, schema)
    by_teacher: Mask = np.zeros(len(vectors), np.bool_)
    if expected is not None:
        known = ~np.isnan(expected).any(axis=1)
        learners = confidence(probabilities, schema.multiple)
        surer = np.nan_to_num(confidence(expected, schema.multiple)) > learners
        by_teacher = np.asarray(known & (surer | (learner is None) | (False if own is None else own)))
        probabilities = np.where(by_teacher[:, None], np.nan_to_num(expected), probabilities)
    authors: list[Literal["learner", "teacher"]] = [
        "teacher" if teacher or learner is None else "learner" for teacher in by_teacher
    ]
    chosen = decide(probabilities, schema.multiple)
    names, sure = np.array(schema.labels), confidence(probabilities, schema.multiple)
    reasoned: list[tuple[str, ...]] = [() for _ in texts]
    if learner and records:
        reasoned = reasons(learner, schema, records, texts, vectors, chosen)
    return [
        Draft(tuple(names[labels].tolist()), float(sure), author, why if author == "learner" else ())
        if learner or teacher or not schema.is_record
        else None
        for labels, sure, author, why, teacher in zip(chosen, sure, authors, reasoned, by_teacher, strict=True)
    ]


def because(draft: Draft) -> str:
    """What speaks for a draft, in words, "" if nothing is known of that."""
    return f" because of {' and '.join(draft.because)}" if draft.because else ""


def confidence(probabilities: Floats, multiple: bool) -> Floats:
    """(n,) the probability of the chosen label; with several choices, the mean one that a decision is right."""
    if multiple:
        return np.asarray(np.maximum(probabilities, 1 - probabilities).mean(axis=1))
    return np.asarray(probabilities.max(axis=1))
