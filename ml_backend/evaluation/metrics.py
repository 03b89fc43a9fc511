"""How good drafts are: shares with honest intervals, F1, calibration."""

from __future__ import annotations

import math

import numpy as np

from ml_backend.core.types import Estimate, Floats, Ints, Mask

Z95 = 1.959964
BINS = 15
ENOUGH = 20
"""Judged answers from which an accuracy is told, compared and forecast: with fewer, its interval says nothing."""


def wilson(right: float, n: int, source: str) -> Estimate | None:
    """A share with its 95 % score interval (Wilson 1927), None without observations."""
    if n == 0:
        return None
    share, spread = right / n, Z95**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n, source)


def decide(probabilities: Floats, multiple: bool) -> Mask:
    """(n, c) bool: the labels a draft would carry. One choice: the most probable; several: all from 0.5 up."""
    if multiple:
        return np.asarray(probabilities >= 0.5)
    chosen = np.zeros(probabilities.shape, bool)
    chosen[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return chosen


def correct(probabilities: Floats, targets: Floats, multiple: bool) -> Mask:
    """(n,) bool: whether the draft agrees with the humans.

    One choice: the drafted label is one of those with most votes. Several: every label is right, where humans who are
    split evenly accept both.
    """
    chosen = decide(probabilities, multiple)
    if multiple:
        return np.asarray(((targets == 0.5) | (chosen == (targets > 0.5))).all(axis=1))
    return np.asarray((chosen & (targets >= targets.max(axis=1, keepdims=True))).any(axis=1))


def f1(probabilities: Floats, targets: Floats, multiple: bool) -> tuple[Floats, Ints]:
    """F1 of each label that occurs in the targets, or is drafted wrongly, and how many rows have it; by the label's
    place. A row's answer is its strongest label or, with several, all from one half up."""
    chosen, gold = decide(probabilities, multiple), decide(targets, multiple)
    hits, drafted, support = (chosen & gold).sum(axis=0), chosen.sum(axis=0), gold.sum(axis=0)
    there = (drafted + support) > 0
    scores = 2.0 * hits[there] / (drafted + support)[there]
    return np.asarray(scores, np.float32), np.asarray(support[there], np.int64)


def calibration_error(probabilities: Floats, targets: Floats, multiple: bool) -> float:
    """Expected calibration error in [0, 1] over 15 equal bins of the confidence (Guo et al., ICML 2017, eq. 3).

    One choice: of the drafted label. Several: of every decision, pooled.
    """
    if multiple:
        confidence = np.maximum(probabilities, 1 - probabilities).ravel()
        right = (decide(probabilities, True) == (targets > 0.5)).ravel()
    else:
        confidence, right = probabilities.max(axis=1), correct(probabilities, targets, False)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))
