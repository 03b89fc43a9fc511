"""Draws a sample of a large pool for `distil`: a pool may have a million rows, and most of them are never read."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats

MAX_POOL_ROWS = 10_000
"""Most rows of the pool that `distil` uses; of a larger pool, as many rows are drawn."""


def pool_sample(pool: Floats, random: np.random.Generator) -> Floats:
    """Returns the pool (n, d), or `MAX_POOL_ROWS` of its rows in their order. The rows are drawn before any row is
    read, because `numpy.asarray` on a view of a larger matrix would copy all of its rows."""
    if len(pool) <= MAX_POOL_ROWS:
        return pool
    return pool[np.sort(random.choice(len(pool), MAX_POOL_ROWS, replace=False))]
