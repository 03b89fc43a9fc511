"""TypiClust: the most typical task of each cluster that has no label yet, the largest clusters first.

Hacohen, Dekel, Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets" (ICML 2022): the
pool is divided into as many clusters as there will be labels after this batch, at most 500; typicality is the inverse
mean distance to the 20 nearest neighbours within the cluster.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Pool, Selection
from plugins.acquisition.clusters import cut, members
from plugins.acquisition.deduplication import available_rows, take_in_turns

NEIGHBOURS = 20
MAX_CLUSTERS = 500
MAX_COMPARED_ROWS = 300
"""Most rows of a cluster, drawn at random, that are compared with each other."""


class Typicality:
    """Needs no learner."""

    def __init__(self, max_clusters: int = MAX_CLUSTERS) -> None:
        self._max_clusters = max_clusters

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        if k <= 0 or not len(rows):
            return Selection(rows[:0], pool.uncertainty("margin", rows[:0]))
        cluster_count = min(int(pool.labelled.sum()) + k, self._max_clusters)
        assignment = cut(pool.vectors, cluster_count, seed).assignment
        labelled = np.bincount(assignment[pool.labelled], minlength=cluster_count)
        groups = members(assignment, rows)
        groups.sort(key=lambda group: (labelled[assignment[group[0]]], -len(group)))
        generator = np.random.default_rng(seed)
        chosen = take_in_turns(
            pool, [by_typicality(pool.vectors, group, generator) for group in groups[:k]] + groups[k:], k
        )
        return Selection(chosen, pool.uncertainty("margin", chosen), "typical")


def by_typicality(
    vectors: Floats, rows: Ints, generator: np.random.Generator, max_compared_rows: int = MAX_COMPARED_ROWS
) -> Ints:
    """Sorts `rows` of one cluster, the most typical first; of a larger cluster, the rows beyond `max_compared_rows`
    follow in random order."""
    if len(rows) > max_compared_rows:
        rows = generator.permutation(rows)
    compared = np.asarray(vectors[rows[:max_compared_rows]], dtype=np.float32)
    return np.concatenate([rows[np.argsort(-typicality(compared), kind="stable")], rows[max_compared_rows:]])


def typicality(vectors: Floats) -> Floats:
    """Returns the inverse mean distance (n,) of each row of `vectors` (n, d) to the NEIGHBOURS nearest other rows, or
    to all if there are fewer."""
    n = min(NEIGHBOURS, len(vectors) - 1)
    if n < 1:
        return np.ones(len(vectors), dtype=np.float32)
    squares = np.square(vectors).sum(axis=1)
    squared = squares[:, None] + squares - 2.0 * (vectors @ vectors.T)
    np.fill_diagonal(squared, np.inf)
    nearest = np.partition(squared, n - 1, axis=1)[:, :n]
    mean = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
    return np.asarray(1.0 / (mean + 1e-6), dtype=np.float32)
