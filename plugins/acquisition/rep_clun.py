"""Rep-ClUn: representative first, then uncertain, one task of each of as many clusters as are wanted.

theSaeed, NAACL 2025: the first round takes the row nearest each centroid of k clusters; later rounds cut the pool anew
and take the row of highest entropy of each cluster.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Pool, Selection
from plugins.acquisition.clusters import queues
from plugins.acquisition.deduplication import available, deal
from plugins.acquisition.uncertainty import entropy


class RepClUn:
    """The largest clusters come first in the first round, the most uncertain row's in later ones."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        unsure: Floats = np.full(len(pool.vectors), np.nan, dtype=np.float32)
        if k <= 0 or not len(rows):
            return Selection(rows[:0], unsure[:0])
        if pool.probabilities is None:
            ground = "near the centre of its cluster"
            groups = sorted(queues(pool.vectors, rows, k, None, seed), key=len, reverse=True)
        else:
            ground = "the least certain of its cluster"
            unsure[rows] = entropy(pool.probabilities[rows], pool.multiple)
            groups = sorted(queues(pool.vectors, rows, k, unsure, seed), key=lambda group: -unsure[group[0]])
        chosen = deal(pool, groups, k)
        return Selection(chosen, unsure[chosen], ground)
