"""D-CALM: the more errors a cluster has, the more of it is labelled.

Hassan and Alikhani, "D-CALM: A Dynamic Clustering-based Active Learning Approach for Mitigating Bias" (Findings of ACL
2023): cluster i of the pool gets n_i = k err_i / sum err of the places, err_i being the mean error of the learner on
its labelled rows; it is cut into n_i parts anew, and the most uncertain row of each part is taken.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints, Pool, Selection
from plugins.acquisition.clusters import cut, members, queues
from plugins.acquisition.deduplication import available, deal
from plugins.acquisition.uncertainty import uncertainty

CLUSTERS = 30
"""Where the pool comes without clusters of its own."""


class DCalm:
    """The clusters are those of the pool. Before there is a learner, all err alike and central rows come first."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        unsure: Floats = np.full(len(pool.vectors), np.nan, dtype=np.float32)
        if k <= 0 or not len(rows):
            return Selection(rows[:0], unsure[:0])
        if pool.probabilities is not None:
            unsure[rows] = uncertainty(pool.probabilities[rows], pool.multiple)
        clustering = pool.clustering or cut(pool.vectors, CLUSTERS, seed)
        groups = members(clustering.assignment, rows)
        known = pool.errors_by(clustering.assignment, len(clustering.centroids))
        errors = np.ones(len(clustering.centroids), np.float32) if known is None else known.astype(np.float32)
        errors = errors[[clustering.assignment[group[0]] for group in groups]]
        places = quotas(errors, k)
        by = None if pool.probabilities is None else unsure
        parts: list[Ints] = []
        for group in np.argsort(-errors, kind="stable"):
            if places[group]:
                parts += queues(pool.vectors, groups[group], int(places[group]), by, seed)
        parts += [groups[group] for group in np.flatnonzero(places == 0)]  # their turn is after all parts
        chosen = deal(pool, parts, k)
        return Selection(chosen, unsure[chosen], "a cluster with many errors")


def quotas(errors: Floats, k: int) -> Ints:
    """(m,) how many of k places each of m clusters gets, by the largest remainder; equal if none errs."""
    shares = k * errors / errors.sum() if errors.sum() > 0 else np.full(len(errors), k / len(errors))
    places: Ints = np.floor(shares).astype(np.int64)
    most = np.argsort(places - shares, kind="stable")[: k - int(places.sum())]
    places[most] += 1
    return places
