"""Metrics of drafts whose labels have an order or a hierarchy: a near miss counts less than a far one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Ints, Mask


def quadratic_weighted_kappa(drafted: Ints, expected: Ints, label_count: int) -> float:
    """The agreement of ordered labels beyond chance, at most 1 (Cohen, Psychological Bulletin 70, 1968): a disagreement
    weighs as the square of its distance in the order. NaN without rows, or if all labels are the same.

    drafted, expected  (n,) indices of the labels in their order
    """
    observed = np.zeros((label_count, label_count))
    np.add.at(observed, (drafted, expected), 1.0)
    weights = np.subtract.outer(np.arange(label_count), np.arange(label_count)) ** 2.0
    by_chance = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / max(len(drafted), 1)
    disagreement = float((weights * by_chance).sum())
    return 1.0 - float((weights * observed).sum()) / disagreement if disagreement else float("nan")


def mean_absolute_distance(drafted: Ints, expected: Ints) -> float:
    """The mean distance of ordered labels in their order; NaN without rows. Shapes as above."""
    return float(np.abs(drafted - expected).mean()) if len(drafted) else float("nan")


def hierarchical_f1(drafted: Mask, expected: Mask, parents: Sequence[int]) -> float:
    """The F1 of sets of labels with all of their ancestors, pooled over the rows (Kiritchenko et al., BioLINK 2005):
    labels near to each other in the hierarchy share ancestors, and so a part of the score. NaN without any label.

    drafted, expected  (n, c) bool: the labels of each row, with or without their ancestors
    parents            (c,) for each label the index of its parent, which comes before it, or -1
    """
    with_ancestors = [_add_ancestors(labels, parents) for labels in (drafted, expected)]
    hits = int((with_ancestors[0] & with_ancestors[1]).sum())
    labels = int(with_ancestors[0].sum()) + int(with_ancestors[1].sum())
    return 2.0 * hits / labels if labels else float("nan")


def _add_ancestors(labels: Mask, parents: Sequence[int]) -> Mask:
    out = labels.copy()
    for label in reversed(range(len(parents))):
        if parents[label] >= 0:
            out[:, parents[label]] |= out[:, label]  # a parent comes before its children
    return out
