"""The baseline: every available task has the same probability."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Pool, Selection
from plugins.acquisition.deduplication import available_rows


class Random:
    """Draws uniformly without replacement, including duplicates of a text: the result is a sample of the pool as it
    is."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        rows = np.random.default_rng(seed).choice(rows, min(max(k, 0), len(rows)), replace=False)
        return Selection(rows, pool.uncertainty("margin", rows), "drawn at random")
