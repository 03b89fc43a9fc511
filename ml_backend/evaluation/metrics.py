"""Shares with honest intervals."""

from __future__ import annotations

import math

import numpy as np

from ml_backend.domain import Estimate, Floats, Mask

Z95 = 1.959964


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
