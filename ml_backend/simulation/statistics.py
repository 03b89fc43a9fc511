"""Learning curves compared with honest intervals.

Everything is paired: row i of every array is the same seed, which means the same initial labels and the same test set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ml_backend.core.types import Ints
from ml_backend.simulation.learning_curves import Scores

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How a strategy does against random, seed by seed.

    gain       mean difference, with its 95 % interval `low` to `high`
    p_value    two-sided Wilcoxon signed-rank test, not corrected for the number of strategies
    """

    gain: float
    low: float
    high: float
    p_value: float
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class LabelSaving:
    """How many labels fewer than random a strategy needs for random's final score, negative if more.

    Each is None where the strategy never gets there; `low` and `high`, the ends of the 95 % interval, where so many
    resamples never do.
    """

    labels: float | None
    low: float | None
    high: float | None


def normalised_area(budgets: Ints, curves: Scores) -> Scores:
    """(seeds,): mean height of the curves (seeds, n) over the budgets (n,), by trapezoids; of one budget, its value."""
    if len(budgets) == 1:
        return curves[:, 0]
    return np.asarray(np.trapezoid(curves, budgets, axis=1) / (budgets[-1] - budgets[0]))


def interval(values: Scores, level: float = 0.05) -> tuple[Scores, Scores]:
    """The ends of the interval of the mean over the first axis, by bootstrap; both (...) for values (seeds, ...). It
    misses the mean with chance `level`.

    The same resamples are drawn for the same number of seeds: deterministic, and paired between calls.
    """
    low, high = np.quantile(_resamples(len(values)) @ values, _levels(len(values), level), axis=0)
    return low, high


def paired(ours: Scores, randoms: Scores) -> PairedDifference:
    """Compares one number per seed, (seeds,) each. Differences that are all zero are no evidence: p is 1."""
    differences = ours - randoms
    low, high = interval(differences)
    return PairedDifference(
        gain=float(differences.mean()),
        low=float(low),
        high=float(high),
        p_value=float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0,
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
    )


def labels_to_target(budgets: Ints, curve: Scores, target: float) -> float | None:
    """Where a curve (n,) first reaches the target, linear between the budgets (n,); None if it never does."""
    reached = float(_crossings(budgets, curve[None], np.array([target]))[0])
    return reached if math.isfinite(reached) else None


def labels_saved(budgets: Ints, ours: Scores, randoms: Scores) -> LabelSaving:
    """Labels saved on the way to random's final score, from the mean curves of (seeds, n) each.

    The interval resamples the seeds of both at once, and the target with them.
    """
    resamples = _resamples(len(ours))
    saved = _saved(budgets, resamples @ ours, resamples @ randoms)
    low, high = _levels(len(ours))
    ends = [
        _saved(budgets, ours.mean(axis=0)[None], randoms.mean(axis=0)[None])[0],
        np.quantile(saved, low, method="lower"),  # an observed value: there is no way between a number and never
        np.quantile(saved, high, method="higher"),
    ]
    return LabelSaving(*(float(end) if math.isfinite(end) else None for end in ends))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values corrected for being several (Holm 1979)."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        largest = max(largest, (len(p_values) - place) * p_values[name])
        corrected[name] = min(1.0, largest)
    return corrected


def _resamples(seeds: int) -> Scores:
    """(RESAMPLES, seeds): the weights of the seeds in the mean of each resample."""
    drawn = np.random.default_rng(seeds).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    return np.asarray(drawn / seeds)


def _levels(seeds: int, level: float = 0.05) -> tuple[float, float]:
    """The percentiles, as shares, between which the resamples hold all but `level`.

    For 5 %, those are 2.5 % and 97.5 % of many seeds; of few, further out, since resamples of a small sample vary too
    little: of ten, the plain percentiles would hold the truth in 90 % of the cases. (Hesterberg 2015, What teachers
    should know about the bootstrap: the expanded percentile interval.)
    """
    if seeds == 1:
        return 0.0, 1.0
    tail = float(stats.norm.cdf(stats.t.ppf(level / 2, seeds - 1) * math.sqrt(seeds / (seeds - 1))))
    return tail, 1 - tail


def _crossings(budgets: Ints, curves: Scores, targets: Scores) -> Scores:
    """(r,): where each of the curves (r, n) first reaches its target (r,), infinite if it never does."""
    rows = np.arange(len(curves))
    reached = curves >= targets[:, None]
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    start = curves[rows, before]
    climb = curves[rows, after] - start
    way = np.divide(targets - start, climb, out=np.ones_like(climb), where=climb > 0)  # no climb: there from the start
    found = budgets[before] + way * (budgets[after] - budgets[before])
    return np.where(reached.any(axis=1), found, np.inf)


def _saved(budgets: Ints, ours: Scores, randoms: Scores) -> Scores:
    """(r,): labels saved between two sets of curves (r, n), minus infinity where ours never reaches random's end."""
    targets = randoms[:, -1]
    return _crossings(budgets, randoms, targets) - _crossings(budgets, ours, targets)
