"""D-CALM: clusters get places in proportion to the learner's errors in them.

Hassan and Alikhani, "D-CALM: A Dynamic Clustering-based Active Learning Approach for Mitigating Bias" (Findings of ACL
2023): from cluster i of the pool, n_i = k err_i / sum err of the k rows are chosen, where err_i is the mean error of
the learner on the labelled rows of the cluster. The cluster is divided into n_i parts, and the most uncertain row of
each part is chosen.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Pool, Selection
from plugins.acquisition.clusters import cluster_queues, clusters_of, members
from plugins.acquisition.deduplication import available_rows, take_in_turns


class DCalm:
    """Uses the clusters of the pool, or makes some. Without a learner, all errors are equal and central rows come
    first."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        uncertainties: Floats = np.full(len(pool.vectors), np.nan, dtype=np.float32)
        if k <= 0 or not len(rows):
            return Selection(rows[:0], uncertainties[:0])
        uncertainties[rows] = pool.uncertainty("margin", rows)
        clustering = clusters_of(pool, seed)
        groups = members(clustering.assignment, rows)
        mean_errors = pool.mean_errors_by_group(clustering.assignment, len(clustering.centroids))
        errors = (
            np.ones(len(clustering.centroids), np.float32) if mean_errors is None else mean_errors.astype(np.float32)
        )
        errors = errors[[clustering.assignment[group[0]] for group in groups]]
        quota = quotas(errors, k)
        ranking = None if pool.predictions is None else uncertainties
        parts: list[Ints] = []
        for group in np.argsort(-errors, kind="stable"):
            if quota[group]:
                parts += cluster_queues(pool.vectors, groups[group], int(quota[group]), ranking, seed)
        parts += [groups[group] for group in np.flatnonzero(quota == 0)]  # used if the others have too few rows
        chosen = take_in_turns(pool, parts, k)
        return Selection(chosen, uncertainties[chosen], "a cluster with many errors")


def quotas(errors: Floats, k: int) -> Ints:
    """Returns how many of k rows each of m clusters gets (m,), in proportion to its error in `errors` (m,), rounded by
    the largest remainder; equal quotas if all errors are 0."""
    shares = k * errors / errors.sum() if errors.sum() > 0 else np.full(len(errors), k / len(errors))
    quota: Ints = np.floor(shares).astype(np.int64)
    largest_remainders = np.argsort(quota - shares, kind="stable")[: k - int(quota.sum())]
    quota[largest_remainders] += 1
    return quota
