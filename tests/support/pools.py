"""Makes pools of any shape, for tests of query strategies and query selection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core.arrays import Clustering, Floats, Ints, Pool
from ml_backend.kinds.choices.predictions import ChoicePredictions

DIM = 12


def unit_vectors(n: int, generator: np.random.Generator, dim: int = DIM) -> Floats:
    vectors = generator.normal(size=(n, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def make_pool(
    n: int,
    c: int = 3,
    *,
    cold: bool = False,
    multiple: bool = False,
    clusters: int = 0,
    errors: bool = False,
    labelled: float = 0.2,
    free: float = 0.8,
    seed: int = 0,
) -> Pool:
    """Returns a pool of n different texts.

    cold      without a learner and without labels
    clusters  number of clusters, 0 for none
    labelled  share of rows with a label; `free`: share of the other rows that are available
    """
    generator = np.random.default_rng(seed)
    vectors = unit_vectors(n, generator)
    shares = generator.random((n, c)) if multiple else generator.dirichlet(np.ones(c), n)
    done = generator.random(n) < (0.0 if cold else labelled)
    wrong: Floats = np.where(done & (generator.random(n) < 0.9), generator.random(n), np.nan).astype(np.float32)
    pool = Pool(
        vectors=vectors,
        predictions=None if cold else ChoicePredictions(shares.astype(np.float32), multiple),
        labelled=done,
        available=~done & (generator.random(n) < free),
        errors=wrong if errors and not cold else None,
    )
    return clustered(pool, generator.integers(0, clusters, n), clusters) if clusters else pool


def choices_of(pool: Pool) -> ChoicePredictions:
    """Returns the predictions of a pool of choices with a learner."""
    assert isinstance(pool.predictions, ChoicePredictions)
    return pool.predictions


def clustered(pool: Pool, assignment: Ints, clusters: int) -> Pool:
    """Returns the pool with clusters: row i is in `assignment[i]`, and each centroid is the mean of its rows."""
    members = [pool.vectors[assignment == cluster] for cluster in range(clusters)]
    centroids = [vectors.mean(axis=0) if len(vectors) else np.zeros(pool.vectors.shape[1]) for vectors in members]
    return replace(pool, clustering=Clustering(np.array(centroids, dtype=np.float32), assignment))
