"""How well the learner does on each group of the tasks, and how often each label really occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import Estimate, Floats, Ints, Mask
from ml_backend.evaluation.metrics import wilson

ENOUGH = 10
"""Rows from which a group is compared with the others: below, one answer moves its accuracy by more than ten points."""
SHUFFLES = 2000
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """The accuracy of each group by its name, worst first; groups below `ENOUGH` rows come last and are not compared.

    gap      best minus worst accuracy of the groups that are compared, None with fewer than two of them
    chance   how often groups of these sizes would lie at least so far apart if none were harder than another
    summary  one sentence for people
    """

    accuracy: dict[str, Estimate]
    gap: float | None
    chance: float | None
    summary: str


def by_group(right: Mask, group: npt.NDArray[np.str_]) -> GroupMetrics:
    """From whether each row (n,) is right, and the group (n,) it belongs to.

    Some group is always the worst, and of many small ones the worst looks bad by luck. So the gap comes with a
    permutation test that has the same luck: who is right is shuffled among all rows of the groups compared, and the gap
    between the best and the worst measured again (Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses",
    2005). Deterministic. The answer is about the rows handed in: if acquisition chose them, about hard ones.
    """
    names, member = np.unique(group, return_inverse=True)
    sizes = np.bincount(member, minlength=len(names))
    hits = np.bincount(member[right], minlength=len(names))
    compared = sizes >= ENOUGH
    order = np.lexsort((hits / np.maximum(sizes, 1), ~compared))
    found = {str(names[i]): wilson(int(hits[i]), int(sizes[i]), "rows of this group") for i in order}
    accuracy = {name: estimate for name, estimate in found.items() if estimate is not None}
    if compared.sum() < 2:
        return GroupMetrics(accuracy, None, None, f"fewer than two groups have {ENOUGH} answers: nothing to compare")
    gap, chance = _chance(hits[compared], sizes[compared])
    worst, best = str(names[order[0]]), str(names[order[int(compared.sum()) - 1]])
    return GroupMetrics(accuracy, gap, chance, _told(worst, accuracy[worst], best, gap, chance))


def _chance(hits: Ints, sizes: Ints) -> tuple[float, float]:
    """The gap between the best and the worst group, and the share of shuffles with at least that gap."""
    shuffled = np.random.default_rng(0).multivariate_hypergeometric(sizes, int(hits.sum()), size=SHUFFLES)
    gap, gaps = np.ptp(hits / sizes), np.ptp(shuffled / sizes, axis=1)
    return float(gap), (1 + int((gaps >= gap - 1e-12).sum())) / (1 + SHUFFLES)


def _told(worst: str, accuracy: Estimate, best: str, gap: float, chance: float) -> str:
    verdict = "more than chance" if chance < ALPHA else "which chance alone can explain"
    return (
        f"worst is {worst} with {accuracy.value:.0%} of {accuracy.n} right (95 %: {accuracy.low:.0%} to "
        f"{accuracy.high:.0%}), {100 * gap:.0f} points behind {best}, {verdict} (p = {chance:.2g})"
    )


def class_balance(targets: Floats, labels: Sequence[str], source: str) -> dict[str, Estimate]:
    """The share of tasks that carry each label, with 95 % interval, from the targets (n, c) of a random sample.

    A soft target counts as the fraction that it is. Each interval is that of its own label: with c labels, expect
    c / 20 of them to miss. Empty without rows.
    """
    shares = {label: wilson(float(targets[:, i].sum()), len(targets), source) for i, label in enumerate(labels)}
    return {label: share for label, share in shares.items() if share is not None}
