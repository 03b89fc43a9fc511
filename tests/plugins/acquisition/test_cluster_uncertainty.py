"""Weighted uncertainty herding, compared with the formula at every step, and its draws with the sums over all rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import choices_of, clustered, make_pool, unit_vectors
from uncertainty_by_hand import margin_by_hand

from ml_backend.core.arrays import Floats, Ints, Pool
from ml_backend.kinds.choices.predictions import ChoicePredictions
from plugins.acquisition.cluster_uncertainty import (
    KERNEL_REACH,
    MIN_UNCERTAINTY,
    ClusterUncertainty,
    Coverage,
    draw_candidates,
    greedy_herding,
    kernel_scale,
)


def squared(a: Floats, b: Floats) -> Floats:
    """Returns squared distances; texts with a cosine above 0.999 count as duplicates."""
    squares = ((a[:, None].astype(float) - b[None].astype(float)) ** 2).sum(axis=2)
    return np.where(squares < 0.002, 0.0, squares)


def check_greedy(
    vectors: Floats, rows: Ints, weights: npt.NDArray[np.floating[Any]], represented: Ints, places: list[int]
) -> float:
    """Checks that each choice covers most of the remaining weight, by the formula; ties may go to any. Returns the
    largest remaining gain."""
    distances = squared(vectors[rows], vectors[rows])
    reach = float(kernel_scale(distances.astype(np.float32)))
    kernel = np.exp(-distances / reach)
    coverage = np.zeros(len(rows))
    for row in represented:
        coverage = np.maximum(coverage, np.exp(-squared(vectors[rows], vectors[[row]])[:, 0] / reach))
    for n, place in enumerate(places):
        gains = [
            -1.0
            if j in places[:n]
            else sum(weights[i] * max(kernel[i, j] - coverage[i], 0.0) for i in range(len(rows)))
            for j in range(len(rows))
        ]
        assert gains[place] >= max(gains) - 1e-5 * sum(weights)
        coverage = np.maximum(coverage, kernel[place])
    return float(max(np.maximum(kernel - coverage, 0) @ weights))


@given(
    m=st.integers(1, 22),
    different=st.integers(1, 40),
    represented_count=st.integers(0, 8),
    k=st.integers(1, 10),
    seed=st.integers(0, 9999),
)
@settings(max_examples=100, deadline=None)
def test_each_choice_covers_most_of_the_remaining_uncertainty(
    m: int, different: int, represented_count: int, k: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = unit_vectors(different, generator, dim=4)[generator.integers(0, different, m + represented_count)]
    weights = generator.choice([0.001, 0.3, 0.3, 1.0], m)  # ties are frequent
    mixed = generator.permutation(m + represented_count)
    rows, represented = mixed[:m], mixed[m:]
    places = greedy_herding(vectors, rows, weights, represented, min(k, m)).tolist()
    assert len(places) == len(set(places)) <= min(k, m)
    uncovered = check_greedy(vectors, rows, weights, represented, places)
    if len(places) < min(k, m):
        assert uncovered == pytest.approx(0, abs=1e-6), "fewer rows are chosen only if no weight is left"


def test_the_reach_is_a_part_of_the_median_distance_of_different_texts() -> None:
    for seed in range(5):
        vectors = unit_vectors(300, np.random.default_rng(seed))
        distances = squared(vectors, vectors)
        exact = KERNEL_REACH * np.median(distances[np.triu_indices(300, 1)])
        assert kernel_scale(distances.astype(np.float32)) == pytest.approx(exact, rel=0.02)
    copies = squared(np.repeat(vectors[:10], 30, axis=0), np.repeat(vectors[:10], 30, axis=0))
    assert kernel_scale(copies.astype(np.float32)) == pytest.approx(exact, rel=0.5), "copies have no part in it"
    assert kernel_scale(np.zeros((5, 5), np.float32)) == 1.0


def unsure_by_hand(pool: Pool) -> npt.NDArray[np.float64]:
    if pool.predictions is None:
        return np.ones(len(pool.vectors))
    shares, multiple = choices_of(pool).probabilities.tolist(), choices_of(pool).multiple
    return np.array([margin_by_hand(row, multiple) + MIN_UNCERTAINTY for row in shares])


@pytest.mark.parametrize("kind", ["cold", "warm", "several choices"])
def test_if_all_rows_fit_among_the_candidates_the_choice_is_exact_for_every_seed(kind: str) -> None:
    for seed in range(4):
        pool = make_pool(70, 4, cold=kind == "cold", multiple=kind == "several choices", seed=seed)
        rows = np.flatnonzero(pool.available)
        chosen = ClusterUncertainty().select(pool, 9, 0).rows
        places = np.searchsorted(rows, chosen).tolist()
        check_greedy(pool.vectors, rows, unsure_by_hand(pool)[rows], np.flatnonzero(pool.labelled), places)
        for other in (1, 2, 3):
            assert ClusterUncertainty().select(pool, 9, other).rows.tolist() == chosen.tolist()


def test_the_weights_of_drawn_rows_sum_to_those_of_the_pool_on_average() -> None:
    """Horvitz and Thompson: the weighted sum over a draw of any quantity is that over all rows, without bias."""
    pool = make_pool(60, free=1.0)
    rows, seeds = np.flatnonzero(pool.available), 2500
    pool_weights = np.asarray(unsure_by_hand(pool), np.float32)
    row_weights = pool_weights[rows]
    is_left = np.ones(len(rows), np.bool_)
    drawn = [draw_candidates(row_weights, is_left, 12, np.random.default_rng(seed)) for seed in range(seeds)]
    quantities: list[npt.NDArray[Any]] = [
        np.ones(60), np.arange(60) < 30, np.random.default_rng(0).random(60),
        pool_weights < np.median(row_weights),
    ]  # fmt: skip
    for quantity in quantities:
        estimates = [float((weights * quantity[rows[places]]).sum()) for places, weights in drawn]
        error = np.std(estimates) / math.sqrt(seeds)
        truth = float((row_weights * quantity[rows]).sum())
        assert error < 0.02 * truth
        assert abs(np.mean(estimates) - truth) < 4 * error
    counts = np.bincount(np.concatenate([places for places, _ in drawn]), minlength=len(rows))
    assert np.corrcoef(counts, row_weights)[0, 1] > 0.9, "the uncertain are drawn more often"
    assert all(len(set(places.tolist())) == 12 for places, _ in drawn)


def test_a_second_draw_accounts_for_the_rows_of_the_first() -> None:
    pool = make_pool(60)
    rows, labelled = np.flatnonzero(pool.available), np.flatnonzero(pool.labelled)
    weights = np.asarray(unsure_by_hand(pool), np.float32)
    expected: Ints = np.empty(0, np.int64)
    for n in (3, 3, 2):
        left = np.setdiff1d(rows, expected)
        represented = np.concatenate([labelled, expected])
        expected = np.append(expected, left[greedy_herding(pool.vectors, left, weights[left], represented, n)])
    assert ClusterUncertainty(max_chosen_per_draw=3).select(pool, 8, 0).rows.tolist() == expected.tolist()


def test_every_different_text_is_found_though_copies_fill_the_draws() -> None:
    for seed in range(5):
        pool = make_pool(200, free=1.0, labelled=0.0, seed=seed)
        pool.vectors[:185] = pool.vectors[0]
        choices_of(pool).probabilities[:185] = 1 / 3
        rows = ClusterUncertainty(max_candidates=10).select(pool, 16, seed).rows
        assert (rows < 185).sum() == 1 and set(range(185, 200)) <= set(rows.tolist())


def test_uncertainty_counts_and_so_do_neighbours() -> None:
    """Between two groups of equal size, the uncertain one comes first; between two equally uncertain texts, the one in
    a group."""
    generator = np.random.default_rng(0)
    centres = np.eye(4, 12)
    crowd = np.repeat([0, 1, 2], [20, 20, 1])
    vectors = centres[crowd] + generator.normal(scale=0.05, size=(41, 12))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    confidence = np.where(crowd == 0, 0.95, 0.6)
    shares = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
    pool = Pool(vectors, ChoicePredictions(shares, multiple=False), np.zeros(41, bool), np.ones(41, bool))
    assert crowd[ClusterUncertainty().select(pool, 1, 0).rows].tolist() == [1]
    assert crowd[ClusterUncertainty().select(replace(pool, predictions=None), 2, 0).rows].tolist() != [2, 2]
    labelled = np.arange(41) == 25  # one of the unsure crowd is labelled: the others are answered
    with_label = replace(pool, labelled=labelled, available=~labelled)
    assert crowd[ClusterUncertainty().select(with_label, 2, 0).rows].tolist() != [1, 1]


def test_clusters_and_errors_do_not_matter() -> None:
    pool = make_pool(60)
    rows = ClusterUncertainty().select(pool, 10, 0).rows.tolist()
    with_clusters = replace(
        clustered(pool, np.arange(60) % 3, 3), errors=np.where(pool.labelled, 0.5, np.nan).astype(np.float32)
    )
    assert ClusterUncertainty().select(with_clusters, 10, 0).rows.tolist() == rows


@given(n=st.integers(0, 60), k=st.integers(0, 12), seed=st.integers(0, 50), multiple=st.booleans())
def test_coverage_chooses_without_the_learner_and_returns_its_uncertainty(
    n: int, k: int, seed: int, multiple: bool
) -> None:
    pool = make_pool(n, multiple=multiple, seed=seed)
    selection = Coverage().select(pool, k, seed)
    assert (
        selection.rows.tolist() == ClusterUncertainty().select(replace(pool, predictions=None), k, seed).rows.tolist()
    )
    assert selection.uncertainty == pytest.approx(pool.uncertainty("margin", selection.rows))
