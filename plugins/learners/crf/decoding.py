"""Chooses the spans that are drafted among all spans with their probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

NEVER = 2.0
"""A threshold that no probability reaches."""
Candidate = tuple[int, int, str, float]
"""The first character of a span, the character behind it, its label and its probability."""


def without_overlaps(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that do not overlap a more probable one, the most probable first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: (-candidate[3], candidate)):
        if all(candidate[1] <= other[0] or candidate[0] >= other[1] for other in kept):
            kept.append(candidate)
    return kept


def precision_threshold(probabilities: Sequence[float] | npt.NDArray[np.floating], precision: float) -> float:
    """The lowest probability from which candidates are drafted so that the expected share of right ones is `precision`
    at least; above 1 if there is none."""
    ordered = np.sort(np.asarray(probabilities, np.float64))[::-1]
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    kept = np.flatnonzero(means >= precision)
    return float(ordered[kept[-1]]) if len(kept) else NEVER


def best_threshold(probabilities: Sequence[float] | npt.NDArray[np.floating], total: float) -> float:
    """The probability from which candidates are drafted so that the expected F1 score over all of them is highest, 1 if
    there are none. total: the expected number of spans, candidates or not

    The expected F1 score of k drafts is 2 S / (k + T), where S is the sum of their probabilities and T is `total`: the
    expectations of numerator and denominator, as in Jansche, "A Maximum Expected Utility Framework for Binary Sequence
    Labeling" (ACL 2007).
    """
    ordered = np.sort(np.asarray(probabilities, np.float64))[::-1]
    if not len(ordered):
        return 1.0
    expected = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + total)
    return float(ordered[expected.argmax()])
