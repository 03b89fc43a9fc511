"""The combination of the predictions for several controls, compared with counting rows in loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import choices_of, make_pool

from ml_backend.core.arrays import Floats, Ints, Predictions, UncertaintyMeasure
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.model.combined_predictions import CombinedPredictions

MEASURES: list[UncertaintyMeasure] = ["margin", "least confidence", "entropy"]


class WithoutProbabilities(ChoicePredictions):
    """The predictions of a kind of label without class probabilities."""

    def gradient_residuals(self, rows: Ints) -> None:  # type: ignore[override]
        return None


def part(n: int, seed: int, *, has_ties: bool = False) -> ChoicePredictions:
    predictions = choices_of(make_pool(n, 2 + seed % 3, multiple=bool(seed % 2), seed=seed))
    return predictions.take(np.arange(n) // 3) if has_ties else predictions


def weights_of(*weights: float) -> Floats:
    return np.array(weights, np.float32)


def rank_by_hand(values: list[float], i: int) -> float:
    """The rank of a value, from 1; equal values share the mean of their ranks."""
    lower = sum(value < values[i] for value in values)
    equal = sum(value == values[i] for value in values)
    return lower + (equal + 1) / 2


def uncertainty_by_hand(parts: Sequence[Predictions], weights: Floats, measure: UncertaintyMeasure) -> list[float]:
    n = len(parts[0])
    counted: list[tuple[list[float], float]] = [
        (predictions.uncertainty(measure, np.arange(n)).tolist(), weight)
        for predictions, weight in zip(parts, weights.tolist(), strict=True)
        if weight
    ]
    total = sum(weight for _, weight in counted)

    def mean_at_rank(rank: int) -> float:
        return sum(sorted(values)[rank - 1] * weight for values, weight in counted) / total

    def uncertainty_of(i: int) -> float:
        best = max(n - (n - rank_by_hand(values, i)) * float(weights.max()) / weight for values, weight in counted)
        lower = max(math.floor(best), 1)
        share = max(best - lower, 0)
        return (1 - share) * mean_at_rank(lower) + share * mean_at_rank(min(lower + 1, n))

    return [uncertainty_of(i) if counted else 0.0 for i in range(n)]


@pytest.mark.parametrize("measure", MEASURES)
@given(
    n=st.integers(0, 25),
    weights=st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=2, max_size=4),
    has_ties=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_uncertainty_is_the_mean_of_the_controls_at_the_best_weighted_rank_among_all_rows(
    measure: UncertaintyMeasure, n: int, weights: list[float], has_ties: bool, seed: int
) -> None:
    parts = [part(n, seed + i, has_ties=has_ties) for i in range(len(weights))]
    combined = CombinedPredictions(parts, weights_of(*weights))
    rows = np.random.default_rng(seed).permutation(n)[: n // 2 + 1]
    uncertainties = combined.uncertainty(measure, rows)
    assert uncertainties.dtype == np.float32
    assert ((uncertainties >= 0) & (uncertainties <= 1)).all()
    if np.count_nonzero(weights) == 1:
        expected = parts[int(np.argmax(weights))].uncertainty(measure, rows)
        np.testing.assert_array_equal(uncertainties, expected)
    else:
        all_rows = uncertainty_by_hand(parts, weights_of(*weights), measure)
        np.testing.assert_allclose(uncertainties, [all_rows[row] for row in rows], atol=1e-6)
    np.testing.assert_array_equal(combined.uncertainty(measure, rows), uncertainties)  # computed once


@pytest.mark.parametrize("measure", MEASURES)
def test_a_single_control_keeps_its_uncertainties_and_residuals_bit_for_bit(measure: UncertaintyMeasure) -> None:
    single, rows = part(30, 0), np.array([4, 2, 29])
    for combined in (
        CombinedPredictions([single], weights_of(0.3)),
        CombinedPredictions([part(30, 1), single], weights_of(0, 2)),
    ):
        np.testing.assert_array_equal(combined.uncertainty(measure, rows), single.uncertainty(measure, rows))
        np.testing.assert_array_equal(combined.gradient_residuals(rows), single.gradient_residuals(rows))


@pytest.mark.parametrize("measure", MEASURES)
@given(n=st.integers(1, 25), weight=st.sampled_from([0.25, 1.0, 3.0]), has_ties=st.booleans(), seed=st.integers(0, 999))
def test_controls_that_agree_keep_their_uncertainties(
    measure: UncertaintyMeasure, n: int, weight: float, has_ties: bool, seed: int
) -> None:
    single, rows = part(n, seed, has_ties=has_ties), np.arange(n)
    combined = CombinedPredictions([single, single], weights_of(1, weight))
    np.testing.assert_allclose(combined.uncertainty(measure, rows), single.uncertainty(measure, rows), atol=1e-6)


def test_the_uncertainties_are_spread_as_those_of_the_controls() -> None:
    """Of 1000 rows, each control is uncertain of 30 others: a query strategy sees that the rest hardly matters."""
    probabilities = np.full((2, 1000, 2), [0.99, 0.01], np.float32)
    probabilities[0, :30] = probabilities[1, 30:60] = 0.5
    parts = [ChoicePredictions(of_control, multiple=False) for of_control in probabilities]
    uncertainties = CombinedPredictions(parts, weights_of(1, 1)).uncertainty("margin", np.arange(1000))
    np.testing.assert_allclose(uncertainties[:60], 1, atol=1e-6)
    np.testing.assert_allclose(uncertainties[60:], 0.02, atol=1e-6)


@given(
    n=st.integers(1, 15),
    weights=st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=2, max_size=4),
    seed=st.integers(0, 999),
)
def test_squared_distances_of_residuals_are_weighted_sums(n: int, weights: list[float], seed: int) -> None:
    if np.count_nonzero(weights) == 1:
        return  # a single control keeps its residuals
    parts = [part(n, seed + i) for i in range(len(weights))]
    rows = np.random.default_rng(seed).permutation(n)
    residuals = CombinedPredictions(parts, weights_of(*weights)).gradient_residuals(rows)
    assert residuals is not None and residuals.dtype == np.float32 and len(residuals) == n
    of_parts = [predictions.gradient_residuals(rows) for predictions in parts]
    for i in range(n):
        for j in range(n):
            expected = sum(
                weight * float(((values[i] - values[j]) ** 2).sum())
                for weight, values in zip(weights, of_parts, strict=True)
            )
            assert float(((residuals[i] - residuals[j]) ** 2).sum()) == pytest.approx(expected, abs=1e-5)


def test_the_residuals_of_the_controls_stand_side_by_side() -> None:
    first, second, rows = part(9, 1), part(9, 2), np.array([8, 0])
    residuals = CombinedPredictions([first, second], weights_of(1, 3)).gradient_residuals(rows)
    expected = [
        [*a, *(math.sqrt(3) * r for r in b)]
        for a, b in zip(first.gradient_residuals(rows).tolist(), second.gradient_residuals(rows).tolist(), strict=True)
    ]
    assert residuals is not None
    np.testing.assert_allclose(residuals, expected, rtol=1e-6)


def test_there_are_no_residuals_if_a_control_that_counts_has_none() -> None:
    rows = np.arange(9)
    parts = [part(9, 0), WithoutProbabilities(part(9, 1).probabilities, multiple=False)]
    assert CombinedPredictions(parts, weights_of(1, 1)).gradient_residuals(rows) is None
    assert CombinedPredictions(parts, weights_of(0, 1)).gradient_residuals(rows) is None
    assert CombinedPredictions(parts, weights_of(1, 0)).gradient_residuals(rows) is not None


def test_taken_rows_are_ranked_among_each_other() -> None:
    parts, weights, rows = [part(20, 0), part(20, 1)], weights_of(1, 2), np.array([11, 3, 5, 19])
    taken = CombinedPredictions(parts, weights).take(rows)
    assert len(taken) == 4
    expected = uncertainty_by_hand([predictions.take(rows) for predictions in parts], weights, "margin")
    np.testing.assert_allclose(taken.uncertainty("margin", np.arange(4)), expected, atol=1e-6)


def test_a_row_is_finite_if_it_is_in_each_control_that_counts() -> None:
    parts = [part(20, seed) for seed in range(3)]
    for row, predictions in enumerate(parts):
        predictions.probabilities[row, 0] = np.nan
    finite = CombinedPredictions(parts, weights_of(1, 0, 0.5)).is_finite()
    assert np.flatnonzero(~finite).tolist() == [0, 2]


def test_the_shares_of_the_controls_in_the_most_uncertain_rows_are_as_their_weights() -> None:
    n, all_rows = 4000, np.arange(4000)
    parts = [choices_of(make_pool(n, 2, multiple=False, seed=seed)) for seed in (1, 2)]
    uncertainties = CombinedPredictions(parts, weights_of(3, 1)).uncertainty("margin", all_rows)
    chosen = np.argsort(-uncertainties)[:80]
    ranks = [np.argsort(np.argsort(-predictions.uncertainty("margin", all_rows))) for predictions in parts]
    from_first, from_second = (int((of_control[chosen] < 65).sum()) for of_control in ranks)
    assert from_first > 2 * from_second > 0


def test_predictions_for_other_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ApprenticeError, match=r"\[20, 19\] rows"):
        CombinedPredictions([part(20, 0), part(19, 1)], weights_of(1, 1))
