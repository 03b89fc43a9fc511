"""Repeated looks after more repetitions rarely report a false difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ml_backend.simulation.sequential_testing import (
    ALPHA,
    MAX_REPETITIONS,
    MIN_USEFUL_GAIN,
    min_repetitions,
    significance_level,
    sufficient_repetitions,
)

DOUBLINGS = [10, 20, 40, 80]


def ever_below(levels: list[float], runs: int) -> float:
    """The share of runs without a difference in which p falls below its level at one of the doublings."""
    differences = np.random.default_rng(7).normal(size=(runs, DOUBLINGS[-1]))
    pairs = zip(DOUBLINGS, levels, strict=True)
    is_significant = [stats.wilcoxon(differences[:, :n], axis=1).pvalue < level for n, level in pairs]
    return float(np.any(is_significant, axis=0).mean())


def test_the_chance_of_a_false_difference_stays_below_five_percent_over_the_doublings() -> None:
    assert ever_below([significance_level(n) for n in DOUBLINGS], 3000) < ALPHA
    assert ever_below([ALPHA] * 4, 3000) > 2 * ALPHA  # without alpha spending


def test_the_levels_of_all_doublings_together_are_below_alpha() -> None:
    assert [significance_level(n) for n in (6, 10, 11, 20, 21, 40, 80)] == pytest.approx(
        [ALPHA / 2, ALPHA / 2, ALPHA / 6, ALPHA / 6, ALPHA / 12, ALPHA / 12, ALPHA / 20]
    )
    assert sum(significance_level(10 * 2**doubling) for doubling in range(60)) < ALPHA


@pytest.mark.parametrize("strategies", [1, 2, 5, 9, 30])
def test_the_fewest_repetitions_are_those_with_which_a_clean_sweep_would_tell(strategies: int) -> None:
    needed = min_repetitions(strategies)
    assert strategies * stats.wilcoxon(np.arange(1, needed + 1)).pvalue < significance_level(needed)
    assert strategies * stats.wilcoxon(np.arange(1, needed)).pvalue >= significance_level(needed - 1)


@pytest.mark.parametrize("gain", [0.016, 0.008, -0.005])
def test_so_many_repetitions_as_are_called_enough_tell_four_times_out_of_five(gain: float) -> None:
    """Student's interval shows that there is a gain, or that it is less than useful."""
    standard_deviation = 0.024
    n = sufficient_repetitions(gain, standard_deviation, 1, 10)
    assert n is not None and n > 10

    def power(repetitions: int) -> float:
        differences = np.random.default_rng(8).normal(gain, standard_deviation, (2000, repetitions))
        half = stats.t.ppf(1 - significance_level(repetitions) / 2, repetitions - 1) * stats.sem(differences, axis=1)
        means = differences.mean(axis=1)
        return float(((means - half > 0) | (means + half < MIN_USEFUL_GAIN)).mean())

    assert power(n) > 0.75
    assert n == 20 or power(n // 2) < 0.8


def test_more_strategies_take_more_repetitions() -> None:
    assert sufficient_repetitions(0.01, 0.016, 1, 10) == 40
    assert sufficient_repetitions(0.01, 0.016, 9, 10) == 80


def test_enough_is_more_than_there_are_and_not_absurdly_many() -> None:
    assert sufficient_repetitions(0.1, 0.001, 1, 10) == 20
    assert sufficient_repetitions(0.1, 0.001, 1, 20) == 40
    assert sufficient_repetitions(0.1, 0.0, 1, 5) == 10
    assert sufficient_repetitions(0.005, 0.2, 1, 10) is None
    assert sufficient_repetitions(0.1, 0.001, 1, MAX_REPETITIONS) is None
