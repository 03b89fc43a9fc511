"""Cutting the pool into clusters: bisecting k-means on a sample, every row to its nearest centroid.

Steinbach, Karypis, Kumar: "A Comparison of Document Clustering Techniques" (KDD Workshop on Text Mining, 2000). Takes
a fraction of the time of k-means, whose optimum nobody needs here.
"""

from __future__ import annotations

import warnings

import numpy as np

from ml_backend.core.types import Clustering, Floats, Ints
from plugins.acquisition.deduplication import CHUNK

SAMPLE = 10_000  # rows that clusters are cut on, at most
PER_CLUSTER = 334  # and at most so many for each cluster


class Bisecting:
    """The clusters of a pool that the loop keeps, for its reports and for the strategies that want them."""

    def cut(self, vectors: Floats, k: int, seed: int) -> Clustering:
        return cut(vectors, k, seed)

    def extend(self, vectors: Floats, clustering: Clustering) -> Clustering:
        return assign(vectors, clustering)


def cut(vectors: Floats, k: int, seed: int, among: Ints | None = None) -> Clustering:
    """At most k clusters of `vectors` (n, d), n >= 1, or of its rows `among`; the others are then -1. Deterministic.

    Fewer if there are fewer different vectors.
    """
    rows = np.arange(len(vectors)) if among is None else among
    most = min(SAMPLE, PER_CLUSTER * k)
    some = rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    sample = np.asarray(vectors[some], dtype=np.float32)
    centroids = sample.mean(axis=0)[None] if k == 1 else _centroids(sample, min(k, len(sample)), seed)
    return Clustering(centroids, _nearest(vectors, centroids, rows, np.full(len(vectors), -1, dtype=np.int64)))


def _centroids(sample: Floats, k: int, seed: int) -> Floats:
    from sklearn.cluster import BisectingKMeans, KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different vectors than clusters, which is in order
        try:
            model = BisectingKMeans(n_clusters=k, random_state=seed).fit(sample)
        except ValueError:  # it came down to a single row: there are hardly more different ones than clusters
            model = KMeans(n_clusters=k, n_init=1, random_state=seed).fit(sample)
    return np.asarray(np.unique(model.cluster_centers_, axis=0))


def assign(vectors: Floats, clustering: Clustering) -> Clustering:
    """The clustering with every unknown (-1) row of `vectors` put to its nearest centroid; float16 may be mapped."""
    unknown = np.flatnonzero(clustering.assignment < 0)
    if not len(unknown):
        return clustering
    return Clustering(clustering.centroids, _nearest(vectors, clustering.centroids, unknown, clustering.assignment))


def _nearest(vectors: Floats, centroids: Floats, rows: Ints, assignment: Ints) -> Ints:
    """`assignment` (n,), with `rows` put to the nearest centroid each."""
    offsets = np.square(centroids).sum(axis=1) / 2
    out = assignment.copy()
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        out[part] = (np.asarray(vectors[part], dtype=np.float32) @ centroids.T - offsets).argmax(axis=1)
    return out


def members(assignment: Ints, rows: Ints) -> list[Ints]:
    """`rows` in one array for each cluster that has any, by the cluster's number; in the order of `rows`."""
    ordered = rows[np.argsort(assignment[rows], kind="stable")]
    if not len(ordered):
        return []
    return np.split(ordered, np.flatnonzero(np.diff(assignment[ordered])) + 1)


def queues(vectors: Floats, rows: Ints, k: int, unsure: Floats | None, seed: int) -> list[Ints]:
    """`rows` cut into at most k clusters, a queue each, by the cluster's number: the most uncertain rows first, by
    `unsure` (n,), or those nearest the centroid if nobody can tell."""
    clustering = cut(vectors, k, seed, among=rows)
    groups = members(clustering.assignment, rows)
    if unsure is not None:
        return [group[np.argsort(-unsure[group], kind="stable")] for group in groups]
    return [central(vectors, group, clustering.centroids[clustering.assignment[group[0]]]) for group in groups]


def central(vectors: Floats, rows: Ints, centroid: Floats) -> Ints:
    """`rows`, those nearest the centroid first."""
    off = np.linalg.norm(np.asarray(vectors[rows], dtype=np.float32) - centroid, axis=1)
    return rows[np.argsort(off, kind="stable")]
