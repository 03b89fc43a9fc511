"""Areas, intervals, tests and crossings, against enumeration, theory and interpolation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from ml_backend.simulation.statistics import (
    holm,
    interval,
    labels_saved,
    labels_to_target,
    normalised_area,
    paired_difference,
)

steps = st.lists(st.integers(1, 50), min_size=1, max_size=8).map(np.cumsum)
scores = st.integers(0, 20).map(lambda step: step / 20)


@given(budgets=steps, data=st.data())
def test_the_area_is_the_sum_of_the_trapezoids_over_the_range(budgets: npt.NDArray[Any], data: st.DataObject) -> None:
    curve = data.draw(st.lists(scores, min_size=len(budgets), max_size=len(budgets)))
    area = sum(
        Fraction(int(right - left)) * (Fraction(a) + Fraction(b)) / 2
        for left, right, a, b in zip(budgets, budgets[1:], curve, curve[1:], strict=False)
    )
    expected = area / int(budgets[-1] - budgets[0]) if len(budgets) > 1 else Fraction(curve[0])
    areas = normalised_area(budgets, np.array([curve, np.zeros(len(budgets))]))
    assert areas == pytest.approx([float(expected), 0])


def test_the_area_by_hand() -> None:
    # from 0 to 10 the mean height is 0.3, from 10 to 40 it is 0.5: (10 * 0.3 + 30 * 0.5) / 40
    assert normalised_area(np.array([0, 10, 40]), np.array([[0.2, 0.4, 0.6]])).tolist() == pytest.approx([0.45])


@pytest.mark.parametrize("seeds", [8, 60])
def test_the_interval_is_the_analytic_one_of_normal_values(seeds: int) -> None:
    drawn = np.random.default_rng(2).normal(0.7, 0.05, (seeds, 200))
    low, high = interval(drawn)
    half = stats.t.ppf(0.975, seeds - 1) * stats.sem(drawn, axis=0)
    assert np.mean((high - low) / (2 * half)) == pytest.approx(1, abs=0.03)
    assert np.mean((high + low) / 2 - drawn.mean(axis=0)) == pytest.approx(0, abs=0.001)


def test_the_interval_holds_the_truth_19_times_out_of_20_with_few_seeds() -> None:
    low, high = interval(np.random.default_rng(3).normal(0, 1, (8, 1200)))
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.02)  # the plain percentiles: 0.89


def test_the_interval_is_the_same_each_time_and_for_each_column() -> None:
    values = np.random.default_rng(4).random((7, 3))
    first, again = interval(values), interval(values)
    assert np.array_equal(first, again)
    low, high = interval(values[:, 1])
    assert (first[0][1], first[1][1]) == pytest.approx((low, high), rel=1e-12)


def test_one_seed_is_its_own_interval() -> None:
    low, high = interval(np.array([0.5]))
    assert (float(low), float(high)) == (0.5, 0.5)


def enumerated(differences: Sequence[float]) -> float:
    """Two-sided signed-rank p-value: all signs of ranks are equally likely; zeros are left out, ties share ranks."""
    non_zero = np.array([difference for difference in differences if difference])
    ranks = stats.rankdata(np.abs(non_zero))
    distance = abs(ranks[non_zero > 0].sum() - ranks.sum() / 2)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product([0, 1], repeat=len(non_zero))]
    return float(np.mean([abs(rank_sum - ranks.sum() / 2) >= distance - 1e-9 for rank_sum in sums]))


@given(differences=st.lists(st.integers(-4, 4), min_size=1, max_size=8))
@hypothesis_settings(max_examples=25)
def test_the_comparison_agrees_with_enumeration_and_counting(differences: list[int]) -> None:
    comparison = paired_difference(np.array(differences) + 2.0, np.full(len(differences), 2.0))
    assert comparison.p_value == pytest.approx(enumerated(differences))
    assert comparison.gain == pytest.approx(sum(differences) / len(differences))
    assert comparison.wins == sum(difference > 0 for difference in differences)
    assert comparison.ties == differences.count(0)
    assert comparison.losses == sum(difference < 0 for difference in differences)
    low, high = interval(np.array(differences, float))
    assert (comparison.low, comparison.high) == pytest.approx((low, high))


def test_strategies_that_do_the_same_are_no_evidence() -> None:
    scores = np.array([0.1, 0.7, 0.4])
    comparison = paired_difference(scores, scores)
    assert (comparison.gain, comparison.low, comparison.high, comparison.p_value) == (0, 0, 0, 1)
    assert (comparison.wins, comparison.ties, comparison.losses) == (0, 3, 0)


@pytest.mark.parametrize(("seeds", "p_value"), [(5, 1 / 16), (6, 1 / 32)])
def test_below_six_seeds_even_a_clean_sweep_is_not_significant(seeds: int, p_value: float) -> None:
    assert paired_difference(np.arange(1, seeds + 1) / 10, np.zeros(seeds)).p_value == pytest.approx(p_value)


@given(budgets=steps, data=st.data(), target=scores)
def test_the_target_is_reached_where_the_drawn_curve_first_crosses_it(
    budgets: npt.NDArray[Any], data: st.DataObject, target: float
) -> None:
    curve = np.array(data.draw(st.lists(scores, min_size=len(budgets), max_size=len(budgets))))
    grid = np.linspace(budgets[0], budgets[-1], 20 * int(budgets[-1] - budgets[0]) + 1)
    is_reached = np.interp(grid, budgets, curve) >= target - 1e-9
    labels = labels_to_target(budgets, curve, target)
    if is_reached.any():
        assert labels == pytest.approx(grid[is_reached.argmax()], abs=0.051)
    else:
        assert labels is None


def test_the_labels_to_the_target_by_hand() -> None:
    budgets, curve = np.array([10, 20, 40]), np.array([0.2, 0.4, 0.8])
    assert labels_to_target(budgets, curve, 0.7) == pytest.approx(35)
    assert labels_to_target(budgets, curve, 0.8) == 40
    assert labels_to_target(budgets, curve, 0.1) == 10
    assert labels_to_target(budgets, curve, 0.81) is None


def test_twice_as_fast_in_every_seed_saves_half_the_labels_for_sure() -> None:
    budgets = np.array([0, 50, 100])
    saving = labels_saved(budgets, np.tile([0, 1.0, 1.0], (8, 1)), np.tile([0, 0.5, 1.0], (8, 1)))
    assert (saving.labels, saving.low, saving.high) == pytest.approx((50, 50, 50))


def test_the_interval_of_the_labels_saved_is_that_of_paired_resampling() -> None:
    random = np.random.default_rng(5)
    budgets, seeds = np.arange(0, 101, 10), 12
    seed_effect = random.normal(0, 0.5, (seeds, 1))  # common to both, and larger than all other variation
    random_curves, curves = budgets / 125 + seed_effect, budgets / 90 + seed_effect + random.normal(0, 0.1, (seeds, 1))

    def saved(rows: npt.NDArray[Any]) -> float:
        """Labels saved by interpolation, which is exact because both curves rise everywhere."""
        random_mean, mean = random_curves[rows].mean(axis=0), curves[rows].mean(axis=0)
        return float(100 - np.interp(random_mean[-1], mean, budgets))

    resampled = [saved(random.integers(0, seeds, seeds)) for _ in range(4000)]
    tail = stats.norm.cdf(stats.t.ppf(0.025, seeds - 1) * np.sqrt(seeds / (seeds - 1)))
    saving = labels_saved(budgets, curves, random_curves)
    assert saving.labels == pytest.approx(saved(np.arange(seeds)))
    assert [saving.low, saving.high] == pytest.approx(np.quantile(resampled, [tail, 1 - tail]), abs=1)
    assert saving.labels - np.quantile(resampled, tail) > 4  # the tolerance is a small part of it


def test_a_strategy_that_some_resamples_do_not_take_to_the_target_has_no_lower_end() -> None:
    budgets, random_curves = np.array([0, 100]), np.tile([0, 0.5], (10, 1))
    curves = np.array([[0, 0.4]] * 4 + [[0, 0.8]] * 6)
    saving = labels_saved(budgets, curves, random_curves)
    assert saving.labels == pytest.approx(100 - 100 * 0.5 / 0.64)
    # A resample with 8 or more of the four slow curves does not reach 0.5: 1.2 % of the resamples; with none: 0.6 %.
    # The interval of ten seeds leaves out 0.9 % at each end.
    assert saving.low is None
    assert saving.high == pytest.approx(100 - 100 * 0.5 / 0.76)


def test_a_strategy_that_never_gets_there_saves_nothing_that_could_be_told() -> None:
    saving = labels_saved(np.array([0, 100]), np.tile([0, 0.4], (10, 1)), np.tile([0, 0.5], (10, 1)))
    assert (saving.labels, saving.low, saving.high) == (None, None, None)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100).map(lambda percent: percent / 100)))
def test_holm_is_bonferroni_on_every_subset(p_values: dict[str, float]) -> None:
    subsets = [subset for size in range(1, 7) for subset in itertools.combinations(p_values, size)]
    for name, corrected in holm(p_values).items():
        subsets_with_name = (subset for subset in subsets if name in subset)
        expected = max(min(1, len(subset) * min(p_values[other] for other in subset)) for subset in subsets_with_name)
        assert corrected == pytest.approx(expected)
    assert holm(p_values).keys() == p_values.keys()
