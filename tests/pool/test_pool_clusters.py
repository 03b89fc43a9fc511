"""The clusters of a pool, between rounds."""

from __future__ import annotations

import numpy as np
import pytest
from project_pools import full_view, put

from ml_backend.core.arrays import Clustering, Floats
from ml_backend.pool import project_pool as module
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store


class Thirds:
    """Cuts a pool into three by the row's number, counts how often, and puts new rows into the first."""

    def __init__(self) -> None:
        self.cuts = 0

    def cut(self, vectors: Floats, k: int, seed: int) -> Clustering:
        self.cuts += 1
        return Clustering(np.eye(3, 32, dtype=np.float32), np.arange(len(vectors)) % 3)

    def extend(self, vectors: Floats, clustering: Clustering) -> Clustering:
        return Clustering(clustering.centroids, np.maximum(clustering.assignment, 0))


@pytest.fixture
def thirds() -> Thirds:
    return Thirds()


def clusters(pool: ProjectPool, thirds: Thirds) -> list[int]:
    clustering = pool.clusters(full_view(pool, with_learner=False), thirds)
    assert clustering is not None
    assignment: list[int] = clustering.assignment.tolist()
    return assignment


def test_clusters_are_used_again_and_new_tasks_join_them(pool: ProjectPool, store: Store, thirds: Thirds) -> None:
    pool.refresh(put(store, *range(10, 110)))
    assert clusters(pool, thirds) == clusters(pool, thirds) == [row % 3 for row in range(100)]
    store.tasks.remove(5, [50])
    pool.refresh(put(store, 1, 200))
    assert clusters(pool, thirds) == [0, *(row % 3 for row in range(100) if row != 40), 0]
    assert thirds.cuts == 1


@pytest.mark.parametrize(("new", "cuts"), [(10, 1), (11, 2)])
def test_clusters_are_cut_anew_when_more_than_a_tenth_has_changed(
    pool: ProjectPool, store: Store, thirds: Thirds, new: int, cuts: int
) -> None:
    pool.refresh(put(store, *range(1, 101)))
    clusters(pool, thirds)
    pool.refresh(put(store, *range(500, 500 + new)))
    clusters(pool, thirds)
    assert thirds.cuts == cuts


def test_changes_are_counted_since_the_pool_was_clustered_not_since_the_last_use(
    pool: ProjectPool, store: Store, thirds: Thirds
) -> None:
    pool.refresh(put(store, *range(1, 101)))
    clusters(pool, thirds)
    for step in range(2):
        pool.refresh(put(store, *range(500, 506 + 6 * step)))
        clusters(pool, thirds)
        assert thirds.cuts == 1 + step


def test_sketches_and_vectors_have_clusters_of_their_own(pool: ProjectPool, store: Store, thirds: Thirds) -> None:
    pool.refresh(put(store, *range(1, 1001)))
    clusters(pool, thirds)
    while pool.encoded.sum() < module.MIN_ENCODED_FOR_QUEUE:
        pool.encode_some(250)
    clusters(pool, thirds)
    assert thirds.cuts == 2


def test_an_empty_pool_has_no_clusters(pool: ProjectPool, store: Store, thirds: Thirds) -> None:
    store.projects.ensure(5)
    pool.refresh(0)
    assert pool.clusters(full_view(pool, with_learner=False), thirds) is None and not thirds.cuts
