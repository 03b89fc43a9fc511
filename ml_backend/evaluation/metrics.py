"""Metrics of drafts: shares with their intervals, F1, calibration error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask, Rows
from ml_backend.core.types import Estimate, EstimateSource

Doubles = npt.NDArray[np.float64]
RowScorer = Callable[[Rows, Rows], Doubles]
"""Scores the drafts of n rows, from predictions (n, ...) and targets (n, ...): (n,) in [0, 1], 1 if a draft is
right."""
RowWeigher = Callable[[Rows, Rows], Doubles | None]
"""The weights (n,) of these scores in their mean, None if they are equal."""
Z95 = 1.959964
BOOTSTRAP_SAMPLES = 1000
MAX_DRAWN_ROWS = 1_000_000  # that a bootstrap has in memory at once
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


def mean_score(
    scores: Doubles, weights: Doubles | None, source: EstimateSource, details: Mapping[str, int] | None = None
) -> Estimate | None:
    """The mean of n scores in [0, 1], with weights (n,) or None for equal ones, and its 95 % interval; None without
    scores.

    With equal weights, the interval is that of a share. Otherwise it is from a percentile bootstrap over the n rows
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). Deterministic.
    """
    if weights is None or not weights.any():
        return wilson_interval(float(scores.sum()), len(scores), source, details)
    value = float(np.average(scores, weights=weights))
    counted = scores[weights > 0]
    if (counted == counted[0]).all():  # all samples have the same mean, which would make the interval a point
        share = wilson_interval(value * len(counted), len(counted), source)
        low, high = (share.low, share.high) if share else (value, value)
    else:
        low, high = np.quantile(_bootstrapped_means(scores, weights), (0.025, 0.975)).tolist()
    return Estimate(value, low, high, len(scores), source, details or {})


def _bootstrapped_means(scores: Doubles, weights: Doubles) -> Doubles:
    """The weighted means (up to BOOTSTRAP_SAMPLES,) of samples of n rows, drawn with replacement; those of samples
    without any weight are left out."""
    random, n = np.random.default_rng(0), len(scores)
    batch = max(MAX_DRAWN_ROWS // n, 1)
    means = []
    for start in range(0, BOOTSTRAP_SAMPLES, batch):
        rows = random.integers(n, size=(min(batch, BOOTSTRAP_SAMPLES - start), n))
        weighted_sums, total_weights = (weights * scores)[rows].sum(axis=1), weights[rows].sum(axis=1)
        means.append(weighted_sums[total_weights > 0] / total_weights[total_weights > 0])
    return np.concatenate(means)


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
