"""Dividing a pool into clusters, and assigning new rows to them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import unit_vectors

from ml_backend.core import registry
from ml_backend.core.arrays import Clustering, Floats
from plugins.acquisition.clusters import assign_unassigned, by_centrality, cut, members
from plugins.acquisition.deduplication import CHUNK_ROWS


def vectors_of(n: int, different: int, noise: float, seed: int) -> Floats:
    """n rows that say at most so many different things, some of them in slightly different words."""
    generator = np.random.default_rng(seed)
    vectors = unit_vectors(different, generator)[generator.integers(0, different, n)]
    noisy = vectors + noise * generator.normal(size=vectors.shape)
    return np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32)


def check_nearest(vectors: Floats, clustering: Clustering, rows: list[int]) -> None:
    """Each of the rows is in the cluster of its nearest centroid, each other row in none."""
    for row in range(len(vectors)):
        cluster = int(clustering.assignment[row])
        if row not in rows:
            assert cluster == -1
            continue
        distances = np.linalg.norm(vectors[row] - clustering.centroids, axis=1)
        assert distances[cluster] <= distances.min() + 1e-3


@given(
    n=st.integers(1, 40),
    different=st.integers(1, 40),
    noise=st.sampled_from([0.0, 1e-7, 1e-3, 0.2]),
    k=st.integers(1, 45),
    has_subset=st.booleans(),
    seed=st.integers(0, 9999),
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_the_cluster_of_its_nearest_centroid(
    n: int, different: int, noise: float, k: int, has_subset: bool, seed: int
) -> None:
    vectors = vectors_of(n, different, noise, seed)
    before = vectors.copy()
    among = np.sort(np.random.default_rng(seed).permutation(n)[: max(1, n // 2)]) if has_subset else None
    clustering = cut(vectors, k, seed, among)
    assert clustering.centroids.dtype == np.float32 and np.isfinite(clustering.centroids).all()
    assert clustering.assignment.dtype == np.int64 and clustering.assignment.shape == (n,)
    assert 1 <= len(clustering.centroids) <= k
    check_nearest(vectors, clustering, list(range(n)) if among is None else among.tolist())
    again = cut(vectors, k, seed, among)
    np.testing.assert_array_equal(clustering.assignment, again.assignment)
    np.testing.assert_array_equal(clustering.centroids, again.centroids)
    np.testing.assert_array_equal(vectors, before)


def test_a_large_pool_is_cut_by_a_sample_of_it() -> None:
    n = 2 * CHUNK_ROWS + 100
    vectors = unit_vectors(n, np.random.default_rng(0))
    clustering = cut(vectors, 7, 0, max_sample_rows=60)
    assert len(clustering.centroids) == 7
    squares = np.square(vectors[:, None] - clustering.centroids).sum(axis=2)
    assert np.allclose(squares[np.arange(n), clustering.assignment], squares.min(axis=1), atol=1e-5)


def test_separate_groups_become_clusters() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 30)
    vectors = (np.eye(5, 10)[truth] + generator.normal(scale=0.05, size=(150, 10))).astype(np.float32)
    assignment = cut(vectors, 5, 0).assignment
    assert len({(int(a), int(b)) for a, b in zip(truth, assignment, strict=True)}) == 5


@pytest.mark.parametrize(("n", "different", "k"), [(1, 1, 5), (3, 3, 50), (200, 1, 5), (400, 3, 10), (5, 2, 5)])
def test_fewer_different_rows_than_clusters_make_fewer_clusters(n: int, different: int, k: int) -> None:
    vectors = unit_vectors(different, np.random.default_rng(0))[np.arange(n) % different]
    clustering = cut(vectors, k, 0)
    assert len(np.unique(clustering.assignment)) == different
    assert assign_unassigned(vectors, clustering) is clustering


def test_many_almost_equal_rows_and_a_few_others_can_be_cut() -> None:
    """Bisecting comes down to single rows here, which it cannot bisect."""
    generator = np.random.default_rng(0)
    vectors = unit_vectors(9, generator)[np.maximum(np.arange(310) - 301, 0)]
    vectors += 0.001 * generator.normal(size=vectors.shape).astype(np.float32)
    for k in (10, 20, 40):
        assignment = cut(vectors, k, 0).assignment
        assert len(set(assignment[302:].tolist())) == 8, "the others are by themselves"


@given(k=st.integers(1, 6), unknown=st.sets(st.integers(0, 39)), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_new_rows_join_the_nearest_cluster_and_the_others_stay(k: int, unknown: set[int], seed: int) -> None:
    vectors = vectors_of(40, 40, 0.0, seed)
    clustering = cut(vectors, k, seed)
    assignment = (clustering.assignment + 1) % len(clustering.centroids)  # wherever they are
    assignment[list(unknown)] = -1
    before = copy.deepcopy(assignment)
    filled = assign_unassigned(vectors.astype(np.float16), Clustering(clustering.centroids, assignment))
    np.testing.assert_array_equal(assignment, before)
    for row in range(40):
        assert filled.assignment[row] == (clustering.assignment[row] if row in unknown else assignment[row])


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 99))
def test_the_members_of_each_cluster_are_its_rows_in_their_order(assignment: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(assignment))[: len(assignment) // 2 + 1]
    groups = [group.tolist() for group in members(np.array(assignment, dtype=np.int64), rows)]
    expected = [[row for row in rows.tolist() if assignment[row] == cluster] for cluster in range(6)]
    assert groups == [group for group in expected if group]


def test_central_rows_come_first() -> None:
    vectors = np.array([[3.0], [1.0], [2.0], [1.0]], dtype=np.float32)
    assert by_centrality(vectors, np.arange(4), np.array([0.0], np.float32)).tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("name", sorted(registry.installed("clusterer")))
def test_an_installed_clusterer_keeps_the_contract(name: str) -> None:
    clusterer = registry.clusterer(name)
    for n, different, k in ((1, 1, 30), (10, 3, 30), (120, 120, 30), (120, 5, 1)):
        vectors = vectors_of(n, different, 0.0, 1)
        clustering = clusterer.cut(vectors, k, 3)
        assert 1 <= len(clustering.centroids) <= k
        assert clustering.assignment.min() >= 0 and clustering.assignment.max() < len(clustering.centroids)
        np.testing.assert_array_equal(clusterer.cut(vectors.copy(), k, 3).assignment, clustering.assignment)
        unknown = np.where(np.arange(n) % 2 == 0, -1, clustering.assignment)
        extended = clusterer.extend(vectors, Clustering(clustering.centroids, unknown))
        np.testing.assert_array_equal(extended.assignment, clustering.assignment)
        np.testing.assert_array_equal(extended.centroids, clustering.centroids)
