"""D-CALM: the more errors a cluster has, the more of it is labelled.

Hassan and Alikhani, "D-CALM: A Dynamic Clustering-based Active Learning Approach for Mitigating Bias" (Findings of ACL
2023): cluster i of the pool gets n_i = k err_i / sum err of the places, err_i being the mean error of the learner on
its labelled rows; it is cut into n_i parts anew, and the most uncertain row of each part is taken.
"""

from __future__ import annotations

import numpy as np

from ml_backend.domain import Clustering, Floats, Ints, Pool, Selection
from plugins.acquisition.clusters import central, cut, members
from plugins.acquisition.spread import available, deal
from plugins.acquisition.uncertainty import uncertainty

CLUSTERS = 30
"""Where the pool comes without clusters of its own."""
PRIOR_ROWS = 2.0
"""A cluster's error is drawn to the pool's by as much as so many labels; one without labels has just that."""


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
        errors = _errors(pool, clustering)[[clustering.assignment[group[0]] for group in groups]]
        places = quotas(errors, k)
        queues: list[Ints] = []
        for group in np.argsort(-errors, kind="stable"):
            queues += _parts(pool, groups[group], int(places[group]), unsure, seed)
        queues += [groups[group] for group in np.flatnonzero(places == 0)]  # their turn is after all parts
        chosen = deal(pool, queues, k)
        return Selection(chosen, unsure[chosen], "a cluster with many errors")


def _parts(pool: Pool, rows: Ints, n: int, unsure: Floats, seed: int) -> list[Ints]:
    """One cluster's rows, cut into at most n queues."""
    if not n:
        return []
    parts = cut(pool.vectors, n, seed, among=rows)
    groups = members(parts.assignment, rows)
    if pool.probabilities is None:
        return [central(pool.vectors, group, parts.centroids[parts.assignment[group[0]]]) for group in groups]
    return [group[np.argsort(-unsure[group], kind="stable")] for group in groups]


def _errors(pool: Pool, clustering: Clustering) -> Floats:
    """(clusters,) the mean error of the labelled rows of each, drawn to the mean of all."""
    known: Ints = np.empty(0, dtype=np.int64) if pool.errors is None else np.flatnonzero(~np.isnan(pool.errors))
    found: Floats = np.empty(0, dtype=np.float32) if pool.errors is None else pool.errors[known]
    overall = float(found.mean()) if len(found) else 1.0
    clusters = len(clustering.centroids)
    counts = np.bincount(clustering.assignment[known], minlength=clusters)
    sums = np.bincount(clustering.assignment[known], weights=found, minlength=clusters)
    return np.asarray((sums + PRIOR_ROWS * overall) / (counts + PRIOR_ROWS), dtype=np.float32)


def quotas(errors: Floats, k: int) -> Ints:
    """(m,) how many of k places each of m clusters gets, by the largest remainder; equal if none errs."""
    shares = k * errors / errors.sum() if errors.sum() > 0 else np.full(len(errors), k / len(errors))
    places: Ints = np.floor(shares).astype(np.int64)
    most = np.argsort(places - shares, kind="stable")[: k - int(places.sum())]
    places[most] += 1
    return places
