"""Statistics of learning curves: areas, bootstrap intervals, paired tests, labels saved.

All arrays are paired: row i of every array is the same seed, which means the same initial labels and the same test set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ml_backend.core.arrays import Ints
from ml_backend.simulation.learning_curves import Scores

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A strategy compared with random order, seed by seed.

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
    """How many labels fewer than random order a strategy needs for the final score of random order, negative if more;
    or how many words or spans fewer.

    labels     None if the strategy never reaches that score
    low, high  ends of the 95 % interval, None if the strategy does not reach that score in the resamples at that end
    """

    labels: float | None
    low: float | None
    high: float | None


def area_of_range(positions: Scores, curves: Scores, start: Scores, end: Scores) -> Scores:
    """(seeds,): mean height of each curve (seeds, n) from `start` to `end`, (seeds,) each; its first value if the range
    is empty. positions: (seeds, n) of the values, ascending, linear in between"""
    areas = curves[:, 0].copy()
    for row, (x, curve, low, high) in enumerate(zip(positions, curves, start, end, strict=True)):
        if high > low:
            inside = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
            areas[row] = np.trapezoid(np.interp(inside, x, curve), inside) / (high - low)
    return areas


def normalised_area(budgets: Ints, curves: Scores) -> Scores:
    """(seeds,): mean height of the curves (seeds, n) over the budgets (n,), by trapezoids; their value if n is 1."""
    if len(budgets) == 1:
        return curves[:, 0]
    return np.asarray(np.trapezoid(curves, budgets, axis=1) / (budgets[-1] - budgets[0]))


def interval(values: Scores, level: float = 0.05) -> tuple[Scores, Scores]:
    """The ends of the bootstrap interval of the mean over the first axis; both (...) for values (seeds, ...). It misses
    the mean with probability `level`.

    The same resamples are drawn for the same number of seeds: deterministic, and paired between calls.
    """
    low, high = np.quantile(_resample_weights(len(values)) @ values, _quantiles(len(values), level), axis=0)
    return low, high


def paired_difference(values: Scores, baseline: Scores) -> PairedDifference:
    """Compares one number per seed, (seeds,) each. If all differences are zero, p is 1."""
    differences = values - baseline
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


def labels_to_target(positions: Ints | Scores, curve: Scores, target: float) -> float | None:
    """The number of labels, or of words or spans, at which a curve (n,) first reaches the target, linear between the
    positions (n,) of its values; None if it never does."""
    labels = float(_crossings(np.asarray(positions, np.float64)[None], curve[None], np.array([target]))[0])
    return labels if math.isfinite(labels) else None


def labels_saved(budgets: Ints, curves: Scores, random_curves: Scores) -> LabelSaving:
    """Labels saved on the way to the final score of random order, from the means of the curves, (seeds, n) each."""
    positions = np.broadcast_to(np.asarray(budgets, np.float64), curves.shape)
    return effort_saved(positions, curves, positions, random_curves)


def effort_saved(positions: Scores, curves: Scores, random_positions: Scores, random_curves: Scores) -> LabelSaving:
    """Labels, words or spans saved on the way to the final score of random order, from the means of the curves and of
    their positions on the axis, (seeds, n) each.

    The interval resamples the seeds of both at once, and the target with them.
    """
    weights = _resample_weights(len(curves))
    drawn = [weights @ values for values in (positions, curves, random_positions, random_curves)]
    means = [values.mean(axis=0)[None] for values in (positions, curves, random_positions, random_curves)]
    saved = _effort_saved(*drawn)
    low, high = _quantiles(len(curves))
    ends = [
        _effort_saved(*means)[0],
        np.quantile(saved, low, method="lower"),  # an observed value: infinity cannot be interpolated
        np.quantile(saved, high, method="higher"),
    ]
    return LabelSaving(*(float(end) if math.isfinite(end) else None for end in ends))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values, corrected for multiple comparisons (Holm 1979)."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, (len(p_values) - rank) * p_values[name])
        corrected[name] = min(1.0, largest)
    return corrected


def _resample_weights(seeds: int) -> Scores:
    """(RESAMPLES, seeds): the weights of the seeds in the mean of each resample."""
    counts = np.random.default_rng(seeds).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    return np.asarray(counts / seeds)


def _quantiles(seeds: int, level: float = 0.05) -> tuple[float, float]:
    """The quantiles of the resamples that are the ends of an interval with error rate `level`.

    For 5 % and many seeds, they are 2.5 % and 97.5 %. With few seeds they are further out, since resamples of a small
    sample vary too little: with ten, the plain percentiles would cover the truth in 90 % of the cases. (Hesterberg
    2015, What teachers should know about the bootstrap: the expanded percentile interval.)
    """
    if seeds == 1:
        return 0.0, 1.0
    tail = float(stats.norm.cdf(stats.t.ppf(level / 2, seeds - 1) * math.sqrt(seeds / (seeds - 1))))
    return tail, 1 - tail


def _crossings(positions: Scores, curves: Scores, targets: Scores) -> Scores:
    """(r,): the position at which each of the curves (r, n) first reaches its target (r,), linear between the positions
    (r, n) of its values; infinite if it never does."""
    rows = np.arange(len(curves))
    is_reached = curves >= targets[:, None]
    after = is_reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    start = curves[rows, before]
    rise = curves[rows, after] - start
    fraction = np.divide(
        targets - start, rise, out=np.ones_like(rise), where=rise > 0
    )  # 1 if the first value is enough
    position = positions[rows, before] + fraction * (positions[rows, after] - positions[rows, before])
    return np.where(is_reached.any(axis=1), position, np.inf)


def _effort_saved(positions: Scores, curves: Scores, random_positions: Scores, random_curves: Scores) -> Scores:
    """(r,): what curves (r, n) save against those of random order (r, n), minus infinity where a curve never reaches
    the final score of random order."""
    targets = random_curves[:, -1]
    return _crossings(random_positions, random_curves, targets) - _crossings(positions, curves, targets)
