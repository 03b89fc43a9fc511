"""Chooses the spans of a draft from candidates with probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Candidate = tuple[int, int, str, float]


def without_overlaps(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that do not overlap a more probable one, in the order of the text."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: (-candidate[3], candidate[:3])):
        start, end, *_ = candidate
        if all(end <= other[0] or start >= other[1] for other in kept):
            kept.append(candidate)
    return tuple(sorted(kept))


def best_threshold(probabilities: Sequence[float]) -> float:
    """The probability from which candidates are drafted so that the expected F1 score over all of them is highest, 1 if
    there are none. The expected F1 of k drafts is 2 S / (k + T), where S is the sum of their probabilities and T that
    of all candidates: the approximation of Jansche, "A Maximum Expected Utility Framework for Binary Sequence
    Labeling" (ACL 2007), by the expectations of numerator and denominator."""
    ordered = np.sort(np.asarray(probabilities, np.float64))[::-1]
    if not len(ordered):
        return 1.0
    expected = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum())
    return float(ordered[expected.argmax()])
