"""TypiClust, compared with a loop over all pairs of a cluster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool

from ml_backend.core.arrays import Floats
from plugins.acquisition.clusters import cut
from plugins.acquisition.typicality import NEIGHBOURS, Typicality, by_typicality, typicality


def mean_distances(vectors: Floats) -> list[float]:
    """Returns the mean distance of each row to its 20 nearest others."""
    out = []
    for i in range(len(vectors)):
        distances = [
            float(np.linalg.norm(vectors[i].astype(float) - vectors[j])) for j in range(len(vectors)) if j != i
        ]
        out.append(float(np.mean(sorted(distances)[:NEIGHBOURS])))
    return out


@given(n=st.integers(2, 40), dim=st.integers(1, 4), copies=st.booleans(), seed=st.integers(0, 9999))
@settings(max_examples=60, deadline=None)
def test_typicality_is_the_inverse_mean_distance_to_the_nearest(n: int, dim: int, copies: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = generator.integers(-2, 3, (n, dim)) if copies else generator.normal(size=(n, dim))
    points: Floats = drawn.astype(np.float32)
    np.testing.assert_allclose(1 / typicality(points), np.array(mean_distances(points)) + 1e-6, atol=2e-3, rtol=1e-3)


def test_a_single_row_has_typicality_one() -> None:
    assert typicality(np.ones((1, 3), np.float32)).tolist() == [1.0]
    assert typicality(np.ones((0, 3), np.float32)).tolist() == []


@pytest.mark.parametrize("cold", [True, False])
def test_the_most_typical_row_of_each_cluster_comes_first_by_fewest_labels_and_largest_size(cold: bool) -> None:
    for seed in range(3):
        pool = make_pool(90, cold=cold, labelled=0.1, free=1.0, seed=seed)
        k = 12
        assignment = cut(pool.vectors, int(pool.labelled.sum()) + k, seed).assignment
        turns = []
        for cluster in range(assignment.max() + 1):
            rows = [row for row in range(90) if assignment[row] == cluster and pool.available[row]]
            labels = sum(1 for row in range(90) if assignment[row] == cluster and pool.labelled[row])
            if rows:
                mean = mean_distances(pool.vectors[rows]) if len(rows) > 1 else [0.0]
                turns.append((labels, -len(rows), cluster, rows[int(np.argmin(mean))]))
        assert Typicality().select(pool, k, seed).rows.tolist() == [row for *_, row in sorted(turns)[:k]]


def test_there_are_never_more_clusters_than_the_authors_allow() -> None:
    pool = make_pool(60, cold=True, free=1.0)
    rows = Typicality(max_clusters=4).select(pool, 8, 0).rows
    assignment = cut(pool.vectors, 4, 0).assignment
    assert sorted(assignment[rows[:4]]) == [0, 1, 2, 3], "each cluster has its turn"
    assert sorted(assignment[rows[4:]]) == [0, 1, 2, 3], "and another"


def test_the_most_typical_of_a_large_cluster_is_sought_in_a_sample() -> None:
    pool = make_pool(50, cold=True, free=1.0)
    order = by_typicality(pool.vectors, np.arange(50), np.random.default_rng(0), max_compared_rows=10)
    assert sorted(order.tolist()) == list(range(50))
    head = sorted(order[:10].tolist())
    mean = mean_distances(pool.vectors[head])
    assert order[:10].tolist() == [head[place] for place in np.argsort(mean)]


def test_the_learner_does_not_matter() -> None:
    pool = make_pool(60, clusters=3, errors=True)
    without_learner = replace(pool, predictions=None, errors=None, clustering=None)
    assert Typicality().select(pool, 9, 0).rows.tolist() == Typicality().select(without_learner, 9, 0).rows.tolist()
