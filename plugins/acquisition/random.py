"""The control: every available task is as likely as another."""

from __future__ import annotations

import numpy as np

from ml_backend.domain import Floats, Pool, Selection
from plugins.acquisition.uncertainty import uncertainty


class Random:
    """Uniform without repeats. Tells the uncertainty of what it drew, but does not look at it."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        available = np.flatnonzero(pool.available)
        rows = np.random.default_rng(seed).permutation(available)[: max(k, 0)]
        if pool.probabilities is None:
            unsure: Floats = np.full(len(rows), np.nan, dtype=np.float32)
        else:
            unsure = uncertainty(pool.probabilities[rows], pool.multiple)
        return Selection(rows, unsure, pool.clustering)
