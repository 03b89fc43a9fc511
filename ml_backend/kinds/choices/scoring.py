"""Decides the labels of a draft from probabilities, and scores drafts against the annotators.

Labels with an order (a rating): the draft is the median of the distribution, which has the least expected distance, and
a draft scores less the farther it is from the annotators' label. The distance is measured on the whole scale:
|i - j| / (c - 1) for labels i and j of c. All other labels are right or wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.core.schema import ControlSchema
from ml_backend.evaluation.metrics import RowScorer, decide_labels, is_correct
from ml_backend.kinds.choices.hierarchy import consistent_decisions

Doubles = npt.NDArray[np.float64]
HALF = 0.5 - 1e-6  # a rounded cumulative probability of one half counts as one half


def decide(probabilities: Floats, control: ControlSchema) -> Mask:
    """(n, c) bool: the labels of a draft, from probabilities (n, c)."""
    if control.ordered:
        chosen = np.zeros(probabilities.shape, np.bool_)
        chosen[np.arange(len(probabilities)), _median(probabilities)] = True
        return chosen
    return consistent_decisions(decide_labels(probabilities, control.multiple), probabilities, control)


def row_scorer(control: ControlSchema) -> RowScorer:
    """The function that scores the drafts of n rows, from probabilities (n, c) and targets (n, c): (n,) float64 in
    [0, 1], 1 if the draft is right."""
    if not control.ordered:

        def correctness(probabilities: Floats, targets: Floats) -> Doubles:
            drafted = decide(probabilities, control).astype(np.float32)
            return is_correct(drafted, targets, control.multiple).astype(np.float64)

        return correctness

    def closeness(probabilities: Floats, targets: Floats) -> Doubles:
        is_top = targets >= targets.max(axis=1, keepdims=True)  # several if the annotators are evenly split
        distances = np.abs(np.arange(targets.shape[1]) - _median(probabilities)[:, None])
        nearest = np.where(is_top, distances, targets.shape[1]).min(axis=1)
        return np.asarray(1.0 - nearest / _scale(targets), np.float64)

    return closeness


def expected_errors(probabilities: Floats, targets: Floats, control: ControlSchema) -> Floats:
    """(n,) in [0, 1]: the probability of a wrong label; with several labels, the mean over the labels; with ordered
    labels, the expected distance."""
    if control.multiple:
        errors = np.abs(targets - probabilities).mean(axis=1)
    elif control.ordered:
        places = np.arange(targets.shape[1])
        distances = np.abs(places[:, None] - places) / _scale(targets)
        errors = ((targets @ distances) * probabilities).sum(axis=1)
    else:
        errors = 1 - (targets * probabilities).sum(axis=1)
    return np.asarray(errors.clip(0, 1))


def _median(probabilities: Floats) -> Ints:
    """(n,) the first label up to which the probabilities of a row sum to one half."""
    cumulative = np.cumsum(probabilities, axis=1, dtype=np.float64)
    return np.asarray((cumulative >= HALF * cumulative[:, -1:]).argmax(axis=1))


def _scale(targets: Floats) -> int:
    return max(targets.shape[1] - 1, 1)
