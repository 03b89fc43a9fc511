"""The learner's mean score on each group of the tasks, and the share of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.evaluation.metrics import wilson_interval

Doubles = npt.NDArray[np.float64]
MIN_ROWS_TO_COMPARE = 10
"""Rows from which a group is compared with the others: below, one answer moves its accuracy by more than ten points."""
PERMUTATIONS = 2000
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """The accuracy, or another mean score, of each group by its name, worst first. Groups with fewer than
    `MIN_ROWS_TO_COMPARE` rows come last and are not compared.

    best     the compared group with the highest accuracy, None with fewer than two compared groups
    gap      best minus worst accuracy of the compared groups, or None
    p_value  of the gap: how often groups of these sizes differ by at least as much if all are equally hard, or None
    """

    accuracy: dict[str, Estimate]
    best: str | None
    gap: float | None
    p_value: float | None


def metrics_by_group(scores: Doubles, group: npt.NDArray[np.str_]) -> GroupMetrics:
    """The metrics of each group, from the score of each row (n,) in [0, 1] and the name of its group (n,).

    One group is always the worst, and of many small groups the worst looks bad by luck. So the gap comes with a
    permutation test, in which luck has the same effect: the scores are shuffled among all rows of the compared
    groups, and the gap between the best and the worst is measured again (Good, "Permutation, Parametric and Bootstrap
    Tests of Hypotheses", 2005). Deterministic. The result holds for the given rows: if acquisition chose them, for hard
    ones.
    """
    names, group_index = np.unique(group, return_inverse=True)
    sizes = np.bincount(group_index, minlength=len(names))
    sums = np.asarray(np.bincount(group_index, scores, minlength=len(names)), np.float64)
    is_compared = sizes >= MIN_ROWS_TO_COMPARE
    order = np.lexsort((sums / np.maximum(sizes, 1), ~is_compared))
    estimates = {str(names[i]): wilson_interval(float(sums[i]), int(sizes[i]), EstimateSource.GROUP) for i in order}
    accuracy = {name: estimate for name, estimate in estimates.items() if estimate is not None}
    if is_compared.sum() < 2:
        return GroupMetrics(accuracy, None, None, None)
    gap, p_value = _permutation_test(scores[is_compared[group_index]], sums[is_compared], sizes[is_compared])
    return GroupMetrics(accuracy, str(names[order[int(is_compared.sum()) - 1]]), gap, p_value)


def _permutation_test(scores: Doubles, sums: Doubles, sizes: Ints) -> tuple[float, float]:
    """The gap between the best and the worst group, and the share of permutations with at least that gap.

    scores (n,) of all rows of the k groups; sums, sizes (k,) of the groups
    """
    random = np.random.default_rng(0)
    if np.isin(scores, (0, 1)).all():  # the number of right rows in each group has a known distribution
        permuted_sums = random.multivariate_hypergeometric(sizes, int(sums.sum()), size=PERMUTATIONS)
    else:
        starts = np.cumsum(sizes) - sizes
        permuted_sums = np.stack([np.add.reduceat(random.permutation(scores), starts) for _ in range(PERMUTATIONS)])
    gap, permuted_gaps = np.ptp(sums / sizes), np.ptp(permuted_sums / sizes, axis=1)
    return float(gap), (1 + int((permuted_gaps >= gap - 1e-12).sum())) / (1 + PERMUTATIONS)


def class_balance(targets: Floats, labels: Sequence[str], source: EstimateSource) -> dict[str, Estimate]:
    """The share of tasks that carry each label, with 95 % interval, from the targets (n, c) of a random sample.

    A soft target counts as a fraction. The intervals are not simultaneous: with c labels, expect c / 20 of them to
    miss. Empty without rows.
    """
    shares = {
        label: wilson_interval(float(targets[:, i].sum()), len(targets), source) for i, label in enumerate(labels)
    }
    return {label: share for label, share in shares.items() if share is not None}
