"""Rep-ClUn: representative first, then uncertain, one task of each of k clusters.

Ahmadnia et al., "Active Few-Shot Learning for Text Classification" (NAACL 2025): the first round takes the row nearest
each centroid of k clusters; later rounds cluster the pool anew and take the row with the highest entropy of each
cluster.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Pool, Selection
from plugins.acquisition.clusters import cluster_queues
from plugins.acquisition.deduplication import available_rows, take_in_turns


class RepClUn:
    """Orders clusters by size in the first round, and by the entropy of their most uncertain row in later ones."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        uncertainties: Floats = np.full(len(pool.vectors), np.nan, dtype=np.float32)
        if k <= 0 or not len(rows):
            return Selection(rows[:0], uncertainties[:0])
        if pool.predictions is None:
            reason = "near the centre of its cluster"
            groups = sorted(cluster_queues(pool.vectors, rows, k, None, seed), key=len, reverse=True)
        else:
            reason = "the least certain of its cluster"
            uncertainties[rows] = pool.uncertainty("entropy", rows)
            groups = sorted(
                cluster_queues(pool.vectors, rows, k, uncertainties, seed), key=lambda group: -uncertainties[group[0]]
            )
        chosen = take_in_turns(pool, groups, k)
        return Selection(chosen, uncertainties[chosen], reason)
