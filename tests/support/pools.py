"""Pools for tests of acquisition and selection, of every shape that a project may have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core.types import Clustering, Floats, Ints, Pool

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
    """n texts, no two of them alike. `cold`: before there is a learner, and without labels; `clusters`: in so many
    clusters, 0 for none; `labelled`: the share with a label; `free`: of the others, the share that may be chosen."""
    generator = np.random.default_rng(seed)
    vectors = unit_vectors(n, generator)
    shares = generator.random((n, c)) if multiple else generator.dirichlet(np.ones(c), n)
    done = generator.random(n) < (0.0 if cold else labelled)
    wrong: Floats = np.where(done & (generator.random(n) < 0.9), generator.random(n), np.nan).astype(np.float32)
    pool = Pool(
        vectors=vectors,
        probabilities=None if cold else shares.astype(np.float32),
        labelled=done,
        available=~done & (generator.random(n) < free),
        multiple=multiple,
        errors=wrong if errors and not cold else None,
    )
    return clustered(pool, generator.integers(0, clusters, n), clusters) if clusters else pool


def clustered(pool: Pool, assignment: Ints, clusters: int) -> Pool:
    """The pool in so many clusters: row i in `assignment[i]`, centroids in the middle."""
    inside = [pool.vectors[assignment == cluster] for cluster in range(clusters)]
    middles = [each.mean(axis=0) if len(each) else np.zeros(pool.vectors.shape[1]) for each in inside]
    return replace(pool, clustering=Clustering(np.array(middles, dtype=np.float32), assignment))
