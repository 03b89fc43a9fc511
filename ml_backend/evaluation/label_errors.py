"""Suspected label errors: confident learning on cross-validated probabilities.

Northcutt, Jiang, Chuang: "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021). A row is
confidently of label j if its probability of j is at least the mean probability of j over the rows labelled j; if that
holds for several labels, the most probable one counts. A row is suspected if it is off the diagonal of the confident
joint: confidently of another label than the given one. Suspected rows are ranked by normalised margin: probability of
the given label minus the highest other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask

MIN_ROWS_OF_LABEL = 5
"""Rows of a label from which it is used, as the given label or as the better one. With fewer, one of five folds may
have none of them in its training part, and the label's threshold is the mean of very few values."""
ROUNDING = 1e-6  # subtracted from a threshold, so that rows with equal probabilities reach their own mean
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class SuspectedLabelErrors:
    """Rows whose label is suspected to be wrong, the lowest margin first.

    rows     (k,) int64
    instead  (k, c) bool: the labels that are proposed for the row
    margin   (k,) float32 in [-1, 1): probability of the given label minus the highest other; low is suspicious
    """

    rows: Ints
    instead: Mask
    margin: Floats


def find_label_errors(
    held_out: Floats, targets: Floats, multiple: bool, protected: Mask, budget: int
) -> SuspectedLabelErrors:
    """At most `budget` suspected rows, from cross-validated probabilities (n, c) and targets (n, c).

    Rows of `protected` (n,) count in the thresholds and are never proposed. A label on which the annotators are evenly
    split counts as not given, so that the row is not suspected for it. With several labels, each label is tested by
    itself, present against absent, and the row's margin is its lowest one.
    """
    if multiple:
        instead, margin = _suspect_multiple(held_out, targets)
    else:
        instead, margin = _suspect_single(held_out, targets)
    margin = np.where(protected, np.inf, margin)
    rows = np.argsort(margin, kind="stable")[: min(budget, int(np.isfinite(margin).sum()))]
    return SuspectedLabelErrors(rows, instead[rows], margin[rows].astype(np.float32))


def _suspect_single(held_out: Floats, targets: Floats) -> tuple[Mask, Floats]:
    """The proposed labels (n, c) and the margins (n,), infinite in rows that are not suspected, for one choice."""
    is_top = targets >= targets.max(axis=1, keepdims=True)
    labels = np.where(is_top.sum(axis=1) == 1, targets.argmax(axis=1), UNKNOWN)
    better_labels, margin = off_diagonal(held_out, labels)
    return better_labels[:, None] == np.arange(held_out.shape[1]), margin


def _suspect_multiple(held_out: Floats, targets: Floats) -> tuple[Mask, Floats]:
    """The same for several choices. The proposed labels are the row's labels, with the suspected ones inverted."""
    instead = np.asarray(targets > 0.5)
    margin: Floats = np.full(len(targets), np.inf, np.float32)
    for label, (probability, target) in enumerate(zip(held_out.T, targets.T, strict=True)):
        is_present = np.where(target == 0.5, UNKNOWN, target > 0.5)
        better, label_margin = off_diagonal(np.column_stack([1.0 - probability, probability]), is_present)
        instead[better != UNKNOWN, label] ^= True
        margin = np.minimum(margin, label_margin)
    return instead, margin


def off_diagonal(probabilities: Floats, labels: Ints) -> tuple[Ints, Floats]:
    """The rows off the diagonal of the confident joint of probabilities (n, c) and given labels (n,).

    Returns the label (n,) that each row confidently has instead of the given one, UNKNOWN if there is none, and the
    margin (n,) of the given label, infinite in rows that are not suspected.
    """
    n, c = probabilities.shape
    counts = np.bincount(labels[labels != UNKNOWN], minlength=c)
    is_used = counts >= MIN_ROWS_OF_LABEL
    threshold = np.full(c, np.inf)
    for label in np.flatnonzero(is_used):
        threshold[label] = probabilities[labels == label, label].mean(dtype=np.float64) - ROUNDING
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    confident_label = confident.argmax(axis=1)
    row = np.arange(n)
    is_suspected = (
        (confident[row, confident_label] >= 0) & (labels != UNKNOWN) & is_used[labels] & (confident_label != labels)
    )

    others = probabilities.copy()
    others[row, labels] = -np.inf
    margin = np.where(is_suspected, probabilities[row, labels] - others.max(axis=1), np.inf)
    return np.where(is_suspected, confident_label, UNKNOWN), margin.astype(np.float32)
