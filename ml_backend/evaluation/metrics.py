"""Metrics of drafts: shares with their intervals, F1, calibration error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from ml_backend.core.types import Estimate, EstimateSource

RowScorer = Callable[[Rows, Rows], npt.NDArray[np.float64]]
"""Scores the drafts of n rows, from predictions (n, ...) and targets (n, ...): (n,) in [0, 1], 1 if a draft is
right."""
Z95 = 1.959964
BINS = 15
MIN_ANSWERS_FOR_ACCURACY = 20
"""Judged answers from which an accuracy is shown, compared and forecast: with fewer, its interval is too wide."""


def wilson_interval(
    right: float, n: int, source: EstimateSource, details: Mapping[str, int] | None = None
) -> Estimate | None:
    """A share with its 95 % score interval (Wilson 1927), None without observations."""
    if n == 0:
        return None
    share, correction = right / n, Z95**2 / n
    middle = (share + correction / 2) / (1 + correction)
    half = Z95 / (1 + correction) * math.sqrt(share * (1 - share) / n + correction / (4 * n))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n, source, details or {})


def decide_labels(probabilities: Floats, multiple: bool) -> Mask:
    """(n, c) bool: the labels of a draft. One choice: the most probable; several: all from 0.5 up."""
    if multiple:
        return np.asarray(probabilities >= 0.5)
    chosen = np.zeros(probabilities.shape, bool)
    chosen[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return chosen


def is_correct(probabilities: Floats, targets: Floats, multiple: bool) -> Mask:
    """(n,) bool: whether the draft agrees with the annotators.

    One choice: the drafted label is one of those with most votes. Several: every label is right; either value is right
    for a label on which the annotators are evenly split.
    """
    chosen = decide_labels(probabilities, multiple)
    if multiple:
        return np.asarray(((targets == 0.5) | (chosen == (targets > 0.5))).all(axis=1))
    return np.asarray((chosen & (targets >= targets.max(axis=1, keepdims=True))).any(axis=1))


def f1_scores(probabilities: Floats, targets: Floats, multiple: bool) -> tuple[Floats, Ints]:
    """F1 of each label that is in the targets or in the drafts, and how many rows have it in the targets, both (k,), in
    the order of the labels. The labels of a target are those that `decide_labels` returns."""
    drafted, expected = decide_labels(probabilities, multiple), decide_labels(targets, multiple)
    hits, drafts, support = (drafted & expected).sum(axis=0), drafted.sum(axis=0), expected.sum(axis=0)
    occurs = (drafts + support) > 0
    scores = 2.0 * hits[occurs] / (drafts + support)[occurs]
    return np.asarray(scores, np.float32), np.asarray(support[occurs], np.int64)


def calibration_error(probabilities: Floats, targets: Floats, multiple: bool) -> float:
    """Expected calibration error in [0, 1] over 15 equal bins of the confidence (Guo et al., ICML 2017, eq. 3).

    One choice: the confidence is that of the drafted label. Several: the decisions on all labels are pooled.
    """
    if multiple:
        confidence = np.maximum(probabilities, 1 - probabilities).ravel()
        is_right = (decide_labels(probabilities, True) == (targets > 0.5)).ravel()
    else:
        confidence, is_right = probabilities.max(axis=1), is_correct(probabilities, targets, False)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=is_right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))
