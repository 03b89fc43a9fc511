"""The past played again: what learners would have said that had only the first answers.

A row of weight 0 is in no training set, and still gets its held-out probabilities from the learner of its fold. So one
more fit on the same rows, with another mask of weights, is a learner of another time, and all of them answer the same
questions: every row is judged by a learner that did not have it, fitted on four fifths of the answers of that time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.ports import Learner
from ml_backend.core.types import Fit, Floats, Ints, Mask, TrainingSet
from ml_backend.evaluation.metrics import correct, decide

POINTS = 5
FIRST = 20
"""Answers of the smallest learner on the curve: before that, whole labels are missing and no power law holds."""
STEP = 25
MODELS = 4


@dataclass(frozen=True, slots=True)
class RetrospectivePredictions:
    """What the learners of other times say.

    sizes        (s,) int64 ascending: how many answers each learner of the curve had; the last one is n
    right        (s, n) bool: which rows it gets right without having seen them, in answering order
    predictions  (MODELS, m) int64 labels, or (MODELS, m, c) bool if several may hold, of the learners of the last
                 answers, `STEP` apart, the newest last; None while there are too few answers
    """

    sizes: Ints
    right: Mask
    predictions: Ints | Mask | None


def predict_retrospectively(
    learner: Learner, train: TrainingSet, stop_set: Floats, seed: int
) -> RetrospectivePredictions:
    """From the rows of `train` in answering order, at least one, and a stop set (m, d): the vectors of tasks, labelled
    or not, that stay the same between rounds. Costs up to POINTS + MODELS - 1 = 8 fits."""
    n = len(train.vectors)
    curve = sizes(n)
    oldest = n - (MODELS - 1) * STEP
    recent = list(range(oldest, n + 1, STEP)) if oldest >= FIRST else []
    fits = {size: with_rows(learner, train, np.arange(n) < size, seed) for size in {*curve.tolist(), *recent}}
    right = [correct(fits[size].held_out, train.targets, train.multiple) for size in curve.tolist()]
    said = [learner.predict(fits[size].tensors, stop_set) for size in recent]
    if not said:
        predictions: Ints | Mask | None = None
    elif train.multiple:
        predictions = np.array([decide(each, multiple=True) for each in said])
    else:
        predictions = np.array([each.argmax(axis=1) for each in said])
    return RetrospectivePredictions(curve, np.array(right), predictions)


def with_rows(learner: Learner, train: TrainingSet, rows: Mask, seed: int) -> Fit:
    """The fit of a learner that had only `rows` (n,) of the training set; its `held_out` is of all rows."""
    return learner.fit(replace(train, weights=train.weights * rows, earlier=None), seed)


def sizes(n: int) -> Ints:
    """Up to POINTS sizes from FIRST to n, each the same factor above the last, as befits a power law."""
    if n <= FIRST:
        return np.array([n], np.int64)
    return np.unique(np.geomspace(FIRST, n, POINTS).round().astype(np.int64))
