"""Answers that look wrong: confident learning on what the learner says of each row without having seen it.

Northcutt, Jiang, Chuang: "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021). A row is
confidently of label j if its probability of j is at least what rows that were given j have on average; with several
such labels, the most probable one. The doubtful rows are those off the diagonal of the confident joint: confidently of
another label than the given one. Ranked by normalised margin: probability of the given label minus the highest other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.types import Floats, Ints, Mask

ENOUGH = 5
"""Answers from which a label takes part, as the given one or as the better one: with fewer, one of five folds may never
have seen it, and its threshold is the mean of next to nothing."""
ROUNDING = 1e-6  # a label whose rows all say the same must not fall short of its own mean
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class SuspectedLabelErrors:
    """Rows whose answer looks wrong, the most doubtful first.

    rows     (k,) int64
    instead  (k, c) bool: the labels that the row should rather have
    margin   (k,) float32 in [-1, 1): probability of the given label minus the highest other; the lower, the stronger
    """

    rows: Ints
    instead: Mask
    margin: Floats


def doubts(held_out: Floats, targets: Floats, multiple: bool, protected: Mask, budget: int) -> SuspectedLabelErrors:
    """At most `budget` rows, from cross-validated probabilities (n, c) and targets (n, c).

    Rows of `protected` (n,) are trusted: they help to set the thresholds and are never proposed. A label on which the
    annotators are evenly split is not given: there is no answer to doubt. With several labels each one is a question of
    its own, present or absent, and the row ranks by its most doubtful one.
    """
    if multiple:
        instead, margin = _several(held_out, targets)
    else:
        instead, margin = _one(held_out, targets)
    margin = np.where(protected, np.inf, margin)
    rows = np.argsort(margin, kind="stable")[: min(budget, int(np.isfinite(margin).sum()))]
    return SuspectedLabelErrors(rows, instead[rows], margin[rows].astype(np.float32))


def _one(held_out: Floats, targets: Floats) -> tuple[Mask, Floats]:
    top = targets >= targets.max(axis=1, keepdims=True)
    given = np.where(top.sum(axis=1) == 1, targets.argmax(axis=1), UNKNOWN)
    better, margin = off_diagonal(held_out, given)
    return better[:, None] == np.arange(held_out.shape[1]), margin


def _several(held_out: Floats, targets: Floats) -> tuple[Mask, Floats]:
    """Each label against its absence; only the doubtful ones of a row are turned round."""
    instead = np.asarray(targets > 0.5)
    margin: Floats = np.full(len(targets), np.inf, np.float32)
    for label, (p, target) in enumerate(zip(held_out.T, targets.T, strict=True)):
        given = np.where(target == 0.5, UNKNOWN, target > 0.5)
        better, its_margin = off_diagonal(np.column_stack([1.0 - p, p]), given)
        instead[better != UNKNOWN, label] ^= True
        margin = np.minimum(margin, its_margin)
    return instead, margin


def off_diagonal(probabilities: Floats, given: Ints) -> tuple[Ints, Floats]:
    """The label (n,) that each row confidently is of rather than the given one (n,), UNKNOWN if there is none, and the
    margin (n,) of the given one, infinite in rows without doubt."""
    n, c = probabilities.shape
    counts = np.bincount(given[given != UNKNOWN], minlength=c)
    known = counts >= ENOUGH
    threshold = np.full(c, np.inf)
    for label in np.flatnonzero(known):
        threshold[label] = probabilities[given == label, label].mean(dtype=np.float64) - ROUNDING
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    found = confident.argmax(axis=1)
    row = np.arange(n)
    doubtful = (confident[row, found] >= 0) & (given != UNKNOWN) & known[given] & (found != given)

    others = probabilities.copy()
    others[row, given] = -np.inf
    margin = np.where(doubtful, probabilities[row, given] - others.max(axis=1), np.inf)
    return np.where(doubtful, found, UNKNOWN), margin.astype(np.float32)
