"""Divides the pool into clusters: bisecting k-means on a sample, then every row to its nearest centroid.

Steinbach, Karypis, Kumar: "A Comparison of Document Clustering Techniques" (KDD Workshop on Text Mining, 2000). It
takes a fraction of the time of k-means, whose better optimum is not needed here.
"""

from __future__ import annotations

import warnings

import numpy as np

from ml_backend.core.arrays import Clustering, Floats, Ints, Pool
from plugins.acquisition.deduplication import CHUNK_ROWS

DEFAULT_CLUSTERS = 30
"""Number of clusters for a strategy if the pool has none."""
MAX_SAMPLE_ROWS = 10_000  # that k-means is fitted on
MAX_SAMPLE_ROWS_PER_CLUSTER = 334


class Bisecting:
    """The clusterer of this module. Reports and some query strategies use its clusters, which are kept between
    rounds."""

    def cut(self, vectors: Floats, k: int, seed: int) -> Clustering:
        return cut(vectors, k, seed)

    def extend(self, vectors: Floats, clustering: Clustering) -> Clustering:
        return assign_unassigned(vectors, clustering)


def clusters_of(pool: Pool, seed: int) -> Clustering:
    """The clusters of the pool, or DEFAULT_CLUSTERS new ones if it has none."""
    return pool.clustering or cut(pool.vectors, DEFAULT_CLUSTERS, seed)


def cut(
    vectors: Floats, k: int, seed: int, among: Ints | None = None, max_sample_rows: int = MAX_SAMPLE_ROWS
) -> Clustering:
    """Returns k clusters of `vectors` (n, d), n >= 1, or fewer if there are fewer different vectors. With `among`, only
    these rows are clustered, and the others have -1. Deterministic for a seed."""
    rows = np.arange(len(vectors)) if among is None else among
    max_rows = min(max_sample_rows, MAX_SAMPLE_ROWS_PER_CLUSTER * k)
    sampled_rows = (
        rows if len(rows) <= max_rows else np.sort(np.random.default_rng(seed).choice(rows, max_rows, replace=False))
    )
    sample = np.asarray(vectors[sampled_rows], dtype=np.float32)
    centroids = sample.mean(axis=0)[None] if k == 1 else _centroids(sample, min(k, len(sample)), seed)
    return Clustering(centroids, _nearest(vectors, centroids, rows, np.full(len(vectors), -1, dtype=np.int64)))


def _centroids(sample: Floats, k: int, seed: int) -> Floats:
    from sklearn.cluster import BisectingKMeans, KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning that there are fewer different vectors than clusters is expected
        try:
            model = BisectingKMeans(n_clusters=k, random_state=seed).fit(sample)
        except ValueError:  # a part has a single row: there are hardly more different rows than clusters
            model = KMeans(n_clusters=k, n_init=1, random_state=seed).fit(sample)
    return np.asarray(np.unique(model.cluster_centers_, axis=0))


def assign_unassigned(vectors: Floats, clustering: Clustering) -> Clustering:
    """Returns the clustering with every unassigned row (-1) of `vectors` (n, d) assigned to its nearest centroid; the
    vectors may be float16 and mapped from a file."""
    unassigned = np.flatnonzero(clustering.assignment < 0)
    if not len(unassigned):
        return clustering
    return Clustering(clustering.centroids, _nearest(vectors, clustering.centroids, unassigned, clustering.assignment))


def _nearest(vectors: Floats, centroids: Floats, rows: Ints, assignment: Ints) -> Ints:
    """Returns `assignment` (n,) with each of `rows` at the nearest centroid."""
    offsets = np.square(centroids).sum(axis=1) / 2
    out = assignment.copy()
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        out[part] = (np.asarray(vectors[part], dtype=np.float32) @ centroids.T - offsets).argmax(axis=1)
    return out


def members(assignment: Ints, rows: Ints) -> list[Ints]:
    """Divides `rows` into one array for each cluster that has any, in the order of the clusters' numbers. Each array is
    in the order of `rows`."""
    ordered = rows[np.argsort(assignment[rows], kind="stable")]
    if not len(ordered):
        return []
    return np.split(ordered, np.flatnonzero(np.diff(assignment[ordered])) + 1)


def cluster_queues(vectors: Floats, rows: Ints, k: int, uncertainty: Floats | None, seed: int) -> list[Ints]:
    """Divides `rows` into at most k clusters, and returns one queue for each, in the order of the clusters' numbers.
    Each queue begins with the rows of the highest `uncertainty` (n,) or, if that is None, nearest the centroid."""
    clustering = cut(vectors, k, seed, among=rows)
    groups = members(clustering.assignment, rows)
    if uncertainty is not None:
        return [group[np.argsort(-uncertainty[group], kind="stable")] for group in groups]
    return [by_centrality(vectors, group, clustering.centroids[clustering.assignment[group[0]]]) for group in groups]


def by_centrality(vectors: Floats, rows: Ints, centroid: Floats) -> Ints:
    """Sorts `rows`, those nearest the centroid first."""
    distances = np.linalg.norm(np.asarray(vectors[rows], dtype=np.float32) - centroid, axis=1)
    return rows[np.argsort(distances, kind="stable")]
