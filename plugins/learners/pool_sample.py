"""A sample of a large pool for `distil`: a pool may have a million rows, of which most are never read."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats

MOST_ROWS = 10_000
"""Rows of the pool that a learner is distilled with; of a larger pool, so many are drawn."""


def pool_sample(pool: Floats, random: np.random.Generator) -> Floats:
    """The pool (n, d), or `MOST_ROWS` of its rows in their order. The rows are drawn first, and no others are read: of
    a view on a larger matrix, `numpy.asarray` would copy them all."""
    if len(pool) <= MOST_ROWS:
        return pool
    return pool[np.sort(random.choice(len(pool), MOST_ROWS, replace=False))]
