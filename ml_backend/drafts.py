"""Probabilities -> the answer that the annotator finds already filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ml_backend import registry
from ml_backend.domain import Draft, Floats, TaskSchema
from ml_backend.evaluation.metrics import decide
from ml_backend.knowledge import Knowledge
from ml_backend.settings import ProjectSettings, Settings


def draft(
    settings: Settings,
    options: ProjectSettings,
    schema: TaskSchema,
    learner: Knowledge | None,
    texts: Sequence[str],
    vectors: Floats,
) -> tuple[list[Draft], Floats]:
    """One draft a row, from the learner or, before there is one, the teacher; and their probabilities (n, c)."""
    author: Literal["learner", "teacher"] = "learner" if learner else "teacher"
    if not len(vectors):
        return [], np.empty((0, len(schema.labels)), np.float32)
    if learner:
        probabilities = learner.predict(schema, vectors)
    else:
        probabilities = registry.drafter(registry.encoder(settings.encoder)).draft(texts, vectors, schema)
    return [
        Draft(tuple(np.array(schema.labels)[chosen].tolist()), _confidence(row, schema.multiple), author)
        for row, chosen in zip(probabilities, decide(probabilities, schema.multiple), strict=True)
    ], probabilities


def _confidence(row: Floats, multiple: bool) -> float:
    """The probability of the chosen label; with several choices, the mean probability that each decision is right."""
    return float(np.maximum(row, 1 - row).mean() if multiple else row.max())
