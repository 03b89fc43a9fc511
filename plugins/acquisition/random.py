"""The control: every available task is as likely as another."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Pool, Selection
from plugins.acquisition.deduplication import available
from plugins.acquisition.uncertainty import unsure_of


class Random:
    """Uniform without repeats, even of the same text: what it draws is a sample of the pool as it is."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        rows = np.random.default_rng(seed).choice(rows, min(max(k, 0), len(rows)), replace=False)
        return Selection(rows, unsure_of(pool, rows), "drawn at random")
