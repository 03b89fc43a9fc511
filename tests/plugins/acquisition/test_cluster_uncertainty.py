"""Weighted uncertainty herding, compared with the formula computed anew at every step, and its draws with the sums."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from by_hand import margin_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import clustered, make_pool, unit_vectors

from ml_backend.core.types import Floats, Ints, Pool
from plugins.acquisition import cluster_uncertainty as module
from plugins.acquisition.cluster_uncertainty import FLOOR, REACH, ClusterUncertainty, Coverage, herd, reach_of
from plugins.acquisition.uncertainty import unsure_of


def squared(a: Floats, b: Floats) -> Floats:
    """Distances written out; texts with a cosine above 0.999 count as one."""
    found = ((a[:, None].astype(float) - b[None].astype(float)) ** 2).sum(axis=2)
    return np.where(found < 0.002, 0.0, found)


def check_greedy(vectors: Floats, rows: Ints, weights: Floats, answered: Ints, places: list[int]) -> float:
    """Each choice answers most of what is left, by the formula; ties may go to any. Returns what is left at the end."""
    distances = squared(vectors[rows], vectors[rows])
    reach = float(reach_of(distances.astype(np.float32)))
    kernel = np.exp(-distances / reach)
    known = np.zeros(len(rows))
    for row in answered:
        known = np.maximum(known, np.exp(-squared(vectors[rows], vectors[[row]])[:, 0] / reach))
    for n, place in enumerate(places):
        gains = [
            -1.0 if j in places[:n] else sum(weights[i] * max(kernel[i, j] - known[i], 0.0) for i in range(len(rows)))
            for j in range(len(rows))
        ]
        assert gains[place] >= max(gains) - 1e-5 * sum(weights)
        known = np.maximum(known, kernel[place])
    return float(max(np.maximum(kernel - known, 0) @ weights))


@given(
    m=st.integers(1, 22),
    different=st.integers(1, 40),
    answered=st.integers(0, 8),
    k=st.integers(1, 10),
    seed=st.integers(0, 9999),
)
@settings(max_examples=100, deadline=None)
def test_each_choice_answers_most_of_the_uncertainty_that_is_left(
    m: int, different: int, answered: int, k: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = unit_vectors(different, generator, dim=4)[generator.integers(0, different, m + answered)]
    weights = generator.choice([0.001, 0.3, 0.3, 1.0], m)  # ties are frequent
    mixed = generator.permutation(m + answered)
    rows, known = mixed[:m], mixed[m:]
    places = herd(vectors, rows, weights, known, min(k, m)).tolist()
    assert len(places) == len(set(places)) <= min(k, m)
    left = check_greedy(vectors, rows, weights, known, places)
    if len(places) < min(k, m):
        assert left == pytest.approx(0, abs=1e-6), "nothing is chosen only if nothing is left to answer"


def test_the_reach_is_a_part_of_the_median_distance_of_different_texts() -> None:
    for seed in range(5):
        vectors = unit_vectors(300, np.random.default_rng(seed))
        distances = squared(vectors, vectors)
        exact = REACH * np.median(distances[np.triu_indices(300, 1)])
        assert reach_of(distances.astype(np.float32)) == pytest.approx(exact, rel=0.02)
    copies = squared(np.repeat(vectors[:10], 30, axis=0), np.repeat(vectors[:10], 30, axis=0))
    assert reach_of(copies.astype(np.float32)) == pytest.approx(exact, rel=0.5), "copies have no part in it"
    assert reach_of(np.zeros((5, 5), np.float32)) == 1.0


def unsure_by_hand(pool: Pool) -> Floats:
    if pool.probabilities is None:
        return np.ones(len(pool.vectors))
    return np.array([margin_by_hand([float(p) for p in row], pool.multiple) + FLOOR for row in pool.probabilities])


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


def test_what_the_drawn_rows_stand_for_is_the_whole_pool_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Horvitz and Thompson: the weighted sum over a draw of any quantity is that over all rows, without bias."""
    monkeypatch.setattr(module, "CANDIDATES", 12)
    drawn: list[tuple[Ints, Floats]] = []

    def spy(vectors: Floats, rows: Ints, weights: Floats, answered: Ints, k: int, near: Floats | None = None) -> Ints:
        drawn.append((rows, weights))
        return np.arange(k)

    monkeypatch.setattr(module, "herd", spy)
    pool = make_pool(60, free=1.0)
    seeds = 2500
    for seed in range(seeds):
        ClusterUncertainty().select(pool, 1, seed)
    rows = np.flatnonzero(pool.available)
    weights = np.where(pool.available, unsure_by_hand(pool), 0.0)
    generator = np.random.default_rng(0)
    quantities = [np.ones(60), np.arange(60) < 30, generator.random(60), weights < np.median(weights[rows])]
    for quantity in quantities:
        estimates = [float((share * quantity[some]).sum()) for some, share in drawn]
        error = np.std(estimates) / math.sqrt(seeds)
        truth = float((weights * quantity).sum())
        assert error < 0.02 * truth
        assert abs(np.mean(estimates) - truth) < 4 * error
    counts = np.bincount(np.concatenate([some for some, _ in drawn]), minlength=60)[rows]
    assert np.corrcoef(counts, weights[rows])[0, 1] > 0.9, "the uncertain are drawn more often"
    assert all(len(set(some.tolist())) == 12 for some, _ in drawn)


def test_a_second_draw_knows_what_the_first_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    calls: list[list[int]] = []

    def spy(vectors: Floats, rows: Ints, weights: Floats, answered: Ints, k: int, near: Floats | None = None) -> Ints:
        calls.append(answered.tolist())
        assert not set(rows.tolist()) & set(answered.tolist())
        return herd(vectors, rows, weights, answered, k)

    monkeypatch.setattr(module, "herd", spy)
    pool = make_pool(60)
    labelled = np.flatnonzero(pool.labelled).tolist()
    chosen = ClusterUncertainty().select(pool, 8, 0).rows.tolist()
    assert calls == [labelled, labelled + chosen[:3], labelled + chosen[:6]]


def test_every_different_text_is_found_though_copies_fill_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANDIDATES", 10)
    for seed in range(5):
        pool = make_pool(200, free=1.0, labelled=0.0, seed=seed)
        assert pool.probabilities is not None
        pool.vectors[:185] = pool.vectors[0]
        pool.probabilities[:185] = 1 / 3
        rows = ClusterUncertainty().select(pool, 16, seed).rows
        assert (rows < 185).sum() == 1 and set(range(185, 200)) <= set(rows.tolist())


def test_uncertainty_counts_and_so_do_neighbours() -> None:
    """Of two equal crowds the unsure one is served first; of two equally unsure texts the one with a crowd."""
    generator = np.random.default_rng(0)
    centres = np.eye(4, 12)
    crowd = np.repeat([0, 1, 2], [20, 20, 1])
    vectors = centres[crowd] + generator.normal(scale=0.05, size=(41, 12))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    sure = np.where(crowd == 0, 0.95, 0.6)
    shares = np.stack([sure, 1 - sure], axis=1).astype(np.float32)
    pool = Pool(vectors, shares, np.zeros(41, bool), np.ones(41, bool), False)
    assert crowd[ClusterUncertainty().select(pool, 1, 0).rows].tolist() == [1]
    assert crowd[ClusterUncertainty().select(replace(pool, probabilities=None), 2, 0).rows].tolist() != [2, 2]
    done = np.arange(41) == 25  # one of the unsure crowd is labelled: the others are answered
    answered = replace(pool, labelled=done, available=~done)
    assert crowd[ClusterUncertainty().select(answered, 2, 0).rows].tolist() != [1, 1]


def test_clusters_and_errors_do_not_matter() -> None:
    pool = make_pool(60)
    rows = ClusterUncertainty().select(pool, 10, 0).rows.tolist()
    told = replace(
        clustered(pool, np.arange(60) % 3, 3), errors=np.where(pool.labelled, 0.5, np.nan).astype(np.float32)
    )
    assert ClusterUncertainty().select(told, 10, 0).rows.tolist() == rows


@given(n=st.integers(0, 60), k=st.integers(0, 12), seed=st.integers(0, 50), multiple=st.booleans())
def test_coverage_chooses_as_if_there_were_no_learner_and_tells_what_the_learner_thinks(
    n: int, k: int, seed: int, multiple: bool
) -> None:
    pool = make_pool(n, multiple=multiple, seed=seed)
    found = Coverage().select(pool, k, seed)
    assert found.rows.tolist() == ClusterUncertainty().select(replace(pool, probabilities=None), k, seed).rows.tolist()
    assert found.uncertainty == pytest.approx(unsure_of(pool, found.rows))
