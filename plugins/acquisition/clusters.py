"""Cutting the pool into clusters: bisecting k-means on a sample, every row to its nearest centroid.

Steinbach, Karypis, Kumar: "A Comparison of Document Clustering Techniques" (KDD Workshop on Text Mining, 2000). Takes
a fraction of the time of k-means, whose optimum nobody needs here.
"""

from __future__ import annotations

import warnings

import numpy as np

from ml_backend.domain import Clustering, Floats, Ints

SAMPLE = 20_000
CHUNK = 8192


def cut(vectors: Floats, k: int, seed: int) -> Clustering:
    """At most k clusters of `vectors` (n, d), n >= 1; fewer if there are fewer different vectors. Deterministic."""
    from sklearn.cluster import BisectingKMeans

    n = len(vectors)
    rows = np.arange(n) if n <= SAMPLE else np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))
    sample = np.asarray(vectors[rows], dtype=np.float32)
    model = BisectingKMeans(n_clusters=min(k, len(sample)), random_state=seed, copy_x=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different vectors than clusters, which is in order
        centroids = np.unique(model.fit(sample).cluster_centers_, axis=0)
    return assign(vectors, Clustering(centroids, np.full(n, -1, dtype=np.int64)))


def assign(vectors: Floats, clustering: Clustering) -> Clustering:
    """The clustering with every unknown (-1) row of `vectors` put to its nearest centroid; float16 may be mapped."""
    unknown = np.flatnonzero(clustering.assignment < 0)
    if not len(unknown):
        return clustering
    centroids = clustering.centroids
    offsets = np.square(centroids).sum(axis=1) / 2
    assignment: Ints = clustering.assignment.copy()
    for start in range(0, len(unknown), CHUNK):
        rows = unknown[start : start + CHUNK]
        assignment[rows] = (np.asarray(vectors[rows], dtype=np.float32) @ centroids.T - offsets).argmax(axis=1)
    return Clustering(centroids, assignment)
