"""The most uncertain row of each cluster, compared with loops that are too slow to be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.domain import ApprenticeError, Clustering, Floats, Pool
from plugins.acquisition import cluster_uncertainty, clusters
from plugins.acquisition.cluster_uncertainty import ClusterUncertainty, typicality
from plugins.acquisition.clusters import assign, cut
from plugins.acquisition.random import Random
from plugins.acquisition.uncertainty import uncertainty


def pool_of(n: int, k: int, seed: int, cold: bool = False, labelled: float = 0.5) -> Pool:
    """Random vectors in random clusters; no two vectors are near each other."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(n, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    done = generator.random(n) < labelled
    clustering = Clustering(np.zeros((k, 24), dtype=np.float32), generator.integers(0, k, n))
    shares = None if cold else generator.dirichlet(np.ones(4), n).astype(np.float32)
    return Pool(vectors, shares, done, ~done, False, clustering)


def unsure_by_hand(row: Floats) -> float:
    best, second = sorted((float(p) for p in row), reverse=True)[:2]
    return 1 - (best - second)


@given(st.integers(1, 120), st.integers(1, 7), st.integers(1, 130), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_clusters_take_turns_fewest_labels_first_each_with_its_most_uncertain(
    n: int, c: int, k: int, seed: int
) -> None:
    pool = pool_of(n, c, seed)
    assert pool.clustering is not None and pool.probabilities is not None
    assignment = pool.clustering.assignment.tolist()
    queues: list[tuple[int, float, list[int]]] = []
    bare: set[int] = set()
    for cluster in range(c):
        rows = [row for row in range(n) if assignment[row] == cluster and pool.available[row]]
        labels = sum(1 for row in range(n) if assignment[row] == cluster and pool.labelled[row])
        if not labels:
            bare.update(rows)
        elif rows:
            rows.sort(key=lambda row: -unsure_by_hand(pool.probabilities[row]))  # type: ignore[index]
            queues.append((labels, -unsure_by_hand(pool.probabilities[rows[0]]), rows))
    expected = []
    queues.sort(key=lambda queue: queue[:2])
    while any(queue[2] for queue in queues):
        expected += [queue[2].pop(0) for queue in queues if queue[2]]
    chosen = ClusterUncertainty().select(pool, n, 0)
    assert [row for row in chosen.rows.tolist() if row not in bare] == expected
    assert ClusterUncertainty().select(pool, k, 0).rows.tolist() == chosen.rows[:k].tolist()
    for row, unsure in zip(chosen.rows, chosen.uncertainty, strict=True):
        by_hand = np.nan if row in bare else unsure_by_hand(pool.probabilities[row])
        assert unsure == pytest.approx(by_hand, abs=1e-5, nan_ok=True), "typicality decides where no label is"


@pytest.mark.parametrize("cold", [True, False])
def test_clusters_without_labels_come_first_the_largest_first_each_with_its_most_typical(cold: bool) -> None:
    pool = pool_of(200, 6, 1, cold, labelled=0.0)
    assert pool.clustering is not None
    assignment = pool.clustering.assignment
    done = np.zeros(200, dtype=bool)
    done[np.flatnonzero(assignment == 2)[:1]] = True
    pool = replace(pool, labelled=done, available=~done)
    expected = []
    for cluster in sorted({0, 1, 3, 4, 5}, key=lambda c: (-int((assignment == c).sum()), c)):
        rows = np.flatnonzero(assignment == cluster)
        means = []
        for row in rows:
            distances = sorted(float(np.linalg.norm(pool.vectors[row] - pool.vectors[o])) for o in rows if o != row)
            means.append(np.mean(distances[:20]))
        expected.append(int(rows[int(np.argmin(means))]))
    assert ClusterUncertainty().select(pool, 5, 0).rows.tolist() == expected


def test_typicality_is_the_inverse_mean_distance_to_the_nearest() -> None:
    points = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    np.testing.assert_allclose(typicality(points), [1 / 2, 1 / 1.5, 1 / 2.5], rtol=1e-4)
    assert typicality(points[:1]).tolist() == [1.0]


def test_the_most_typical_of_a_large_cluster_is_sought_in_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_uncertainty, "CANDIDATES", 10)
    rows = ClusterUncertainty().select(pool_of(50, 1, 0, cold=True, labelled=0.0), 50, 0).rows
    assert sorted(rows.tolist()) == list(range(50))


def test_over_time_every_cluster_gets_the_same_quota() -> None:
    pool = pool_of(300, 5, 2, labelled=0.0)
    assert pool.clustering is not None
    done = pool.labelled.copy()
    for _ in range(50):
        row = ClusterUncertainty().select(replace(pool, labelled=done, available=~done), 20, 0).rows[0]
        done[row] = True
    assert np.bincount(pool.clustering.assignment[done]).tolist() == [10] * 5


def test_repetitions_wait_until_there_is_nothing_else() -> None:
    pool = pool_of(40, 3, 5, labelled=0.0)
    assert pool.clustering is not None and pool.probabilities is not None
    vectors = pool.vectors.copy()
    vectors[10:20] = vectors[0]  # ten more of row 0, in all clusters
    vectors[20:25] = vectors[39] + np.float32(1e-4)  # five near row 39, which is labelled, in its cluster
    assignment = pool.clustering.assignment.copy()
    assignment[20:25] = assignment[39]
    done = np.zeros(40, dtype=bool)
    done[39] = True
    shares = pool.probabilities.copy()
    shares[10:25] = 0.25  # and all of them as uncertain as can be
    clustering = Clustering(pool.clustering.centroids, assignment)
    rows = (
        ClusterUncertainty()
        .select(
            replace(pool, vectors=vectors, probabilities=shares, labelled=done, available=~done, clustering=clustering),
            39,
            0,
        )
        .rows.tolist()
    )
    first, late = rows[:24], rows[24:]
    assert len({0, *range(10, 20)} & set(first)) == 1
    assert set(range(20, 25)) <= set(late)
    assert sorted(rows) == list(range(39))


def test_new_rows_join_the_nearest_cluster_and_the_others_stay() -> None:
    pool = pool_of(100, 4, 0)
    clustering = cut(pool.vectors, 4, 0)
    holes = clustering.assignment.copy()
    holes[[3, 50, 99]] = -1
    filled = ClusterUncertainty().select(replace(pool, clustering=Clustering(clustering.centroids, holes)), 5, 0)
    assert filled.clustering is not None
    np.testing.assert_array_equal(filled.clustering.assignment, clustering.assignment)
    assert (holes[[3, 50, 99]] == -1).all()


def test_a_clustering_of_another_pool_is_refused() -> None:
    pool = pool_of(20, 2, 0)
    assert pool.clustering is not None
    other = Clustering(pool.clustering.centroids, pool.clustering.assignment[:-1])
    with pytest.raises(ApprenticeError, match="19 rows, but the pool has 20"):
        ClusterUncertainty().select(replace(pool, clustering=other), 5, 0)


def test_every_row_is_in_the_cluster_of_its_nearest_centroid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CHUNK", 17)
    monkeypatch.setattr(clusters, "SAMPLE", 60)
    vectors = pool_of(150, 1, 0).vectors
    clustering = cut(vectors, 7, 0)
    assert len(clustering.centroids) == 7
    for row in range(150):
        distances = [float(np.linalg.norm(vectors[row] - centroid)) for centroid in clustering.centroids]
        assert distances[clustering.assignment[row]] == pytest.approx(min(distances), abs=1e-5)


def test_separate_groups_become_clusters() -> None:
    generator = np.random.default_rng(0)
    centres = np.eye(5, 10)
    truth = np.repeat(np.arange(5), 30)
    vectors = (centres[truth] + generator.normal(scale=0.05, size=(150, 10))).astype(np.float32)
    found = cut(vectors, 5, 0).assignment
    assert len({(int(a), int(b)) for a, b in zip(truth, found, strict=True)}) == 5


@pytest.mark.parametrize(("n", "different", "k"), [(1, 1, 5), (3, 3, 50), (200, 1, 5), (400, 3, 10)])
def test_fewer_different_rows_than_clusters_make_fewer_clusters(n: int, different: int, k: int) -> None:
    vectors = pool_of(different, 1, 0).vectors[np.arange(n) % different]
    clustering = cut(vectors, k, 0)
    assert np.isfinite(clustering.centroids).all()
    assert len(np.unique(clustering.assignment)) == different
    assert assign(vectors, clustering) is clustering


@given(st.integers(1, 6), st.booleans(), st.integers(0, 20))
@settings(deadline=None)
def test_uncertainty_is_in_the_unit_interval(c: int, multiple: bool, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(c), 10).astype(np.float32)
    unsure = uncertainty(shares, multiple)
    assert unsure.shape == (10,) and (unsure >= 0).all() and (unsure <= 1).all()


def test_uncertainty_is_one_where_it_cannot_tell_and_zero_where_it_is_certain() -> None:
    single = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]], dtype=np.float32)
    np.testing.assert_allclose(uncertainty(single, False), [1.0, 0.0, 0.7], atol=1e-6)
    several = np.array([[0.5, 0.0], [1.0, 0.0], [0.9, 0.7]], dtype=np.float32)
    np.testing.assert_allclose(uncertainty(several, True), [1.0, 0.0, 0.6], atol=1e-6)


def test_random_draws_every_row_as_often_as_another() -> None:
    pool = pool_of(10, 1, 0, labelled=0.0)
    counts = np.bincount([int(row) for seed in range(2000) for row in Random().select(pool, 2, seed).rows])
    assert counts.min() > 320 and counts.max() < 480
