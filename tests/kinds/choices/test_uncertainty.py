"""The measures of uncertainty, compared with the textbook's formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncertainty_by_hand import entropy_by_hand, least_confidence_by_hand, margin_by_hand

from ml_backend.core.arrays import Floats
from ml_backend.kinds.choices.uncertainty import entropy, least_confidence, margin_uncertainty

MEASURES = [least_confidence, margin_uncertainty, entropy]


def probabilities(n: int, c: int, multiple: bool, seed: int) -> Floats:
    """Coarse ones, so that ties, zeros and ones are frequent, and some very near to them."""
    generator = np.random.default_rng(seed)
    if multiple:
        return generator.choice([0, 1e-9, 1e-4, *np.arange(1, 8) / 8, 1 - 1e-4, 1], (n, c)).astype(np.float32)
    counts = generator.choice([0, 1e-9, 1e-4, 1, 2, 3], (n, c))
    counts[np.arange(n), generator.integers(0, c, n)] += 1
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize(
    ("measure", "by_hand"),
    [(least_confidence, least_confidence_by_hand), (margin_uncertainty, margin_by_hand), (entropy, entropy_by_hand)],
)
@given(n=st.integers(0, 8), c=st.integers(1, 6), seed=st.integers(0, 9999))
@settings(max_examples=100, deadline=None)
def test_a_measure_equals_the_textbook_formula(
    measure: Callable[[Floats, bool], Floats],
    by_hand: Callable[[list[float], bool], float],
    multiple: bool,
    n: int,
    c: int,
    seed: int,
) -> None:
    shares = probabilities(n, c, multiple, seed)
    uncertainties = measure(shares, multiple)
    assert uncertainties.dtype == np.float32 and uncertainties.shape == (len(shares),)
    assert ((uncertainties >= 0) & (uncertainties <= 1)).all()
    np.testing.assert_allclose(uncertainties, [by_hand([float(p) for p in row], multiple) for row in shares], atol=2e-6)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("c", [1, 2, 5])
def test_a_measure_is_one_for_equal_probabilities_and_zero_for_certain_ones(
    measure: Callable[[Floats, bool], Floats], c: int
) -> None:
    certain = np.eye(c, dtype=np.float32)
    np.testing.assert_array_equal(measure(certain, False), 0)
    np.testing.assert_array_equal(measure(certain, True), 0)
    np.testing.assert_allclose(measure(np.full((1, c), 0.5, np.float32), True), [1], atol=1e-6)
    np.testing.assert_allclose(measure(np.full((1, c), 1 / c, np.float32), False), [float(c > 1)], atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("multiple", [False, True])
def test_a_probability_that_was_rounded_beyond_zero_or_one_does_no_harm(
    measure: Callable[[Floats, bool], Floats], multiple: bool
) -> None:
    uncertainties = measure(np.array([[1.0000001, -1e-7], [-1e-7, 1.0000001]], dtype=np.float32), multiple)
    np.testing.assert_allclose(uncertainties, 0, atol=1e-5)


def test_the_measures_agree_on_two_labels() -> None:
    p = np.random.default_rng(0).random(50).astype(np.float32)
    shares = np.stack([p, 1 - p], axis=1)
    orders = [np.argsort(measure(shares, False)).tolist() for measure in MEASURES]
    assert orders[0] == orders[1] == orders[2]


def test_rows_with_thousands_of_labels_are_distinguished() -> None:
    shares = np.random.default_rng(0).random((50, 3000), dtype=np.float32)
    assert len(np.unique(least_confidence(shares, True))) == 50
