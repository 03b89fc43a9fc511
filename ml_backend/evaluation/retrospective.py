"""Learners of earlier times: predictions of learners that are fitted on the first answers only.

A row of weight 0 is in no training set, and still gets its held-out probabilities from the learner of its fold. So one
more fit on the same rows, with other weights, gives the learner of another time, and all these learners are judged on
the same rows: on every row by a learner that did not have it, fitted on four fifths of the answers of that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Fit, Floats, Ints, Mask, Rows, TrainingSet
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.core.texts import Texts
from ml_backend.evaluation.metrics import RowScorer

CURVE_POINTS = 5
MIN_CURVE_ANSWERS = 20
"""Answers of the smallest learner on the curve: with fewer, whole labels are missing and no power law holds."""
ANSWERS_BETWEEN_MODELS = 25
RECENT_MODELS = 4


@dataclass(frozen=True, slots=True)
class RetrospectivePredictions:
    """Predictions of the learners of earlier times.

    sizes        (s,) int64 ascending: how many answers each learner of the curve had; the last one is n
    scores       (s, n) the scores of its drafts for the rows, without having seen them, in answering order
    predictions  (m, ...) of each of the RECENT_MODELS most recent learners, which are `ANSWERS_BETWEEN_MODELS` apart,
                 the newest last; () while there are too few answers
    """

    sizes: Ints
    scores: npt.NDArray[np.float64]
    predictions: Sequence[Rows]


def predict_retrospectively(
    learner: Learner,
    train: TrainingSet,
    stop_set: Floats,
    seed: int,
    score: RowScorer,
    stop_texts: Texts | None = None,
) -> RetrospectivePredictions:
    """Fits learners on the first answers of `train`, whose rows, at least one, are in answering order.

    stop_set    (m, d): vectors of tasks, labelled or not, that stay the same between rounds
    stop_texts  of these tasks, needed by a `TextLearner`

    Costs up to CURVE_POINTS + RECENT_MODELS - 1 = 8 fits.
    """
    n = len(train.vectors)
    curve = curve_sizes(n)
    oldest = n - (RECENT_MODELS - 1) * ANSWERS_BETWEEN_MODELS
    recent = list(range(oldest, n + 1, ANSWERS_BETWEEN_MODELS)) if oldest >= MIN_CURVE_ANSWERS else []
    fits = {size: fit_on_rows(learner, train, np.arange(n) < size, seed) for size in {*curve.tolist(), *recent}}
    scores = [score(fits[size].held_out, train.targets) for size in curve.tolist()]
    predictions = [predict_rows(learner, fits[size].tensors, stop_set, stop_texts) for size in recent]
    return RetrospectivePredictions(curve, np.array(scores), predictions)


def fit_on_rows(learner: Learner, train: TrainingSet, rows: Mask, seed: int) -> Fit:
    """The fit of a learner on only the `rows` (n,) of the training set; its `held_out` is of all rows."""
    return learner.fit(replace(train, weights=train.weights * rows, earlier=None), seed)


def curve_sizes(n: int) -> Ints:
    """Up to CURVE_POINTS sizes from MIN_CURVE_ANSWERS to n, evenly spaced on a logarithmic scale, as a power law
    needs."""
    if n <= MIN_CURVE_ANSWERS:
        return np.array([n], np.int64)
    return np.unique(np.geomspace(MIN_CURVE_ANSWERS, n, CURVE_POINTS).round().astype(np.int64))
