"""The baseline: every available task has the same probability."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Pool, Selection
from plugins.acquisition.deduplication import available
from plugins.acquisition.uncertainty import unsure_of


class Random:
    """Draws uniformly without replacement, including repetitions of a text: the result is a sample of the pool as it
    is."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        rows = np.random.default_rng(seed).choice(rows, min(max(k, 0), len(rows)), replace=False)
        return Selection(rows, unsure_of(pool, rows), "drawn at random")
