"""The three classic strategies, compared with sorting all rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from by_hand import deal_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import choices_of, make_pool, unit_vectors
from uncertainty_by_hand import entropy_by_hand, least_confidence_by_hand, margin_by_hand

from ml_backend.core.arrays import Pool
from ml_backend.kinds.choices.predictions import ChoicePredictions
from plugins.acquisition import deduplication
from plugins.acquisition.most_uncertain import Entropy, LeastConfidence, Margin, MostUncertain

STRATEGIES = [(LeastConfidence, least_confidence_by_hand), (Margin, margin_by_hand), (Entropy, entropy_by_hand)]


def coarse_pool(n: int, c: int, different: int, multiple: bool, seed: int) -> Pool:
    """Many rows say the same and many are equally uncertain."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 3, (n, c)) + np.eye(c, dtype=int)[generator.integers(0, c, n)]
    shares = counts / 3 if multiple else counts / counts.sum(axis=1, keepdims=True)
    return replace(
        make_pool(n, seed=seed),
        predictions=ChoicePredictions(shares.astype(np.float32), multiple),
        vectors=unit_vectors(different, generator)[generator.integers(0, different, n)],
    )


@pytest.mark.parametrize(("strategy", "by_hand"), STRATEGIES)
@pytest.mark.parametrize("max_searched_rows", [1, 64])
@given(
    n=st.integers(1, 40),
    c=st.integers(1, 4),
    different=st.integers(1, 40),
    k=st.integers(1, 45),
    multiple=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_the_most_uncertain_row_that_repeats_nothing_comes_next(
    strategy: type[LeastConfidence],
    by_hand: Callable[[list[float], bool], float],
    max_searched_rows: int,
    n: int,
    c: int,
    different: int,
    k: int,
    multiple: bool,
    seed: int,
) -> None:
    pool = coarse_pool(n, c, different, multiple, seed)
    uncertainties = [by_hand([float(p) for p in row], multiple) for row in choices_of(pool).probabilities]
    selection = strategy(max_searched_rows).select(pool, k, 0)
    np.testing.assert_allclose(selection.uncertainty, [uncertainties[row] for row in selection.rows], atol=2e-6)
    # rounding decides between equals, so the order of all is taken from the strategy; that it falls is checked by hand
    rows = strategy(max_searched_rows).select(replace(pool, vectors=np.eye(n, dtype=np.float32)), n, 0).rows
    falling = [uncertainties[row] for row in rows]
    assert all(a >= b - 2e-6 for a, b in pairwise(falling))
    assert sorted(rows) == np.flatnonzero(pool.available).tolist()
    assert selection.rows.tolist() == deal_by_hand(pool, [rows.tolist()], k, max_searched_rows)


def test_equals_come_in_the_order_of_the_pool() -> None:
    pool = replace(make_pool(30), predictions=ChoicePredictions(np.full((30, 2), 0.5, np.float32), multiple=False))
    for strategy in (LeastConfidence, Margin, Entropy):
        assert strategy().select(pool, 30, 0).rows.tolist() == np.flatnonzero(pool.available).tolist()


def test_more_copies_than_searched_rows_do_not_hide_less_uncertain_rows() -> None:
    generator = np.random.default_rng(0)
    n = 2 * deduplication.MAX_SEARCHED_ROWS + 50
    vectors = unit_vectors(n, generator)
    vectors[:-10] = vectors[0]
    shares = np.full((n, 2), 0.5, np.float32)
    shares[-10:, 0] = np.linspace(0.6, 0.9, 10)
    shares[:, 1] = 1 - shares[:, 0]
    pool = Pool(vectors, ChoicePredictions(shares, multiple=False), np.zeros(n, bool), np.ones(n, bool))
    for strategy in (LeastConfidence, Margin, Entropy):
        assert strategy().select(pool, 2, 0).rows.tolist() == [0, n - 10]
        assert strategy().select(pool, 11, 0).rows.tolist() == [0, *range(n - 10, n)]


@pytest.mark.parametrize("strategy", [LeastConfidence, Margin, Entropy])
def test_a_draw_before_there_is_a_learner_gives_every_row_the_same_chance(strategy: type[MostUncertain]) -> None:
    pool = make_pool(8, cold=True, free=1.0)
    draws, k = 1200, 2
    instance = strategy()  # type: ignore[call-arg]
    counts = np.bincount(
        [int(row) for seed in range(draws) for row in instance.select(pool, k, seed).rows], minlength=8
    )
    expected, spread_of = draws * k / 8, math.sqrt(draws * k / 8 * (1 - k / 8))
    assert (np.abs(counts - expected) < 4 * spread_of).all()
