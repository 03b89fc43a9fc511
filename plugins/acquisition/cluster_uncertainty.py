"""The most typical task of every cluster that has no label yet, the most uncertain one of those that have.

Clusters of the pool with an equal quota for each, the most informative first: Hassan, Sicilia, Alikhani, "An Active
Learning Framework for Inclusive Generation by Large Language Models" (COLING 2025), after D-CALM (ACL Findings 2023).
Typicality: Hacohen, Dekel, Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets"
(TypiClust, ICML 2022).

The loop is online: of the tasks served, one or two are labelled before the next round. So the quota is kept over time,
not within a round: the clusters with the fewest labels come first, and the clusters stay while the pool stays.
Typicality rules each cluster until its first label, learner or no learner: on development data, that beat leaving the
cold start as soon as there was a learner, and margin did no worse than entropy or least confidence.
"""

from __future__ import annotations

import numpy as np

from ml_backend.domain import ApprenticeError, Clustering, Floats, Ints, Pool, Selection
from plugins.acquisition.clusters import assign, cut
from plugins.acquisition.uncertainty import uncertainty

NEIGHBOURS = 20
CANDIDATES = 300
"""Of a larger cluster, only so many (drawn at random) are compared with each other for typicality."""
SAME = 0.999
"""Cosine above which two texts count as one."""
LOOK = 64
"""How far a cluster's queue is searched for a task unlike those chosen, before its turn passes."""


class ClusterUncertainty:
    """`clusters` is how many the pool is cut into; they are cut anew whenever no clustering is handed in."""

    def __init__(self, clusters: int = 30) -> None:
        self._clusters = clusters

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        """Always min(k, available) rows. Raises ApprenticeError if `pool.clustering` is of another number of rows."""
        available = np.flatnonzero(pool.available)
        unsure: Floats = np.full(len(pool.vectors), np.nan, dtype=np.float32)
        if k <= 0 or not len(available):
            return Selection(available[:0], unsure[:0], pool.clustering)
        clustering = self._clustering(pool, seed)
        assignment = clustering.assignment
        labelled = np.bincount(assignment[pool.labelled], minlength=len(clustering.centroids))
        queues, counts, first = [], [], []
        generator = np.random.default_rng(seed)
        for rows in _split(available[np.argsort(assignment[available], kind="stable")], assignment):
            counts.append(int(labelled[assignment[rows[0]]]))
            if pool.probabilities is None or not counts[-1]:
                queues.append(_by_typicality(pool.vectors, rows, generator))
                first.append(-float(len(rows)))
            else:
                unsure[rows] = uncertainty(pool.probabilities[rows], pool.multiple)
                queues.append(rows[np.argsort(-unsure[rows], kind="stable")])
                first.append(-float(unsure[queues[-1][0]]))
        turns = [queues[i] for i in np.lexsort((first, counts))]
        rows = _deal(pool, assignment, turns, min(k, len(available)))
        return Selection(rows, unsure[rows], clustering)

    def _clustering(self, pool: Pool, seed: int) -> Clustering:
        if pool.clustering is None:
            return cut(pool.vectors, self._clusters, seed)
        if len(pool.clustering.assignment) != len(pool.vectors):
            raise ApprenticeError(
                f"The clustering is of {len(pool.clustering.assignment)} rows, but the pool has {len(pool.vectors)}. "
                "Extend it with -1 for new rows, or hand in none."
            )
        return assign(pool.vectors, pool.clustering)


def _by_typicality(vectors: Floats, rows: Ints, generator: np.random.Generator) -> Ints:
    """`rows` of one cluster, those in the densest places first; beyond CANDIDATES, in random order."""
    if len(rows) > CANDIDATES:
        rows = generator.permutation(rows)
    near = np.asarray(vectors[rows[:CANDIDATES]], dtype=np.float32)
    return np.concatenate([rows[np.argsort(-typicality(near), kind="stable")], rows[CANDIDATES:]])


def typicality(vectors: Floats) -> Floats:
    """(n,) inverse mean distance of each row of `vectors` (n, d) to its 20 nearest others, or all if fewer."""
    n = min(NEIGHBOURS, len(vectors) - 1)
    if n < 1:
        return np.ones(len(vectors), dtype=np.float32)
    squares = np.square(vectors).sum(axis=1)
    squared = squares[:, None] + squares - 2.0 * (vectors @ vectors.T)
    np.fill_diagonal(squared, np.inf)
    nearest = np.partition(squared, n - 1, axis=1)[:, :n]
    mean = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
    return np.asarray(1.0 / (mean + 1e-6), dtype=np.float32)


def _split(ordered: Ints, assignment: Ints) -> list[Ints]:
    """Rows that are ordered by cluster, in one array for each cluster."""
    return np.split(ordered, np.flatnonzero(np.diff(assignment[ordered])) + 1)


def _deal(pool: Pool, assignment: Ints, turns: list[Ints], k: int) -> Ints:
    """k rows: pass after pass, the next of each queue in `turns`; what repeats a row dealt before, or a labelled one of
    its cluster, waits until there is nothing else."""
    labelled = np.flatnonzero(pool.labelled)
    dealt: Ints = np.empty(k, dtype=np.int64)
    seen: Floats = np.empty((k, pool.vectors.shape[1]), dtype=np.float32)
    n = 0
    repeats: list[Ints] = []
    while turns:
        left = []
        for queue in turns:
            ahead = queue[:LOOK]
            vectors = np.asarray(pool.vectors[ahead], dtype=np.float32)
            answered = labelled[assignment[labelled] == assignment[queue[0]]]
            known = np.concatenate([seen[:n], np.asarray(pool.vectors[answered], dtype=np.float32)])
            fresh = ~(vectors @ known.T > SAME).any(axis=1)
            step = int(fresh.argmax()) if fresh.any() else len(ahead)
            repeats.append(ahead[:step])
            if step < len(ahead):
                dealt[n], seen[n] = ahead[step], vectors[step]
                n += 1
                if n == k:
                    return dealt
            behind = queue[min(step + 1, len(ahead)) :]
            if len(behind):
                left.append(behind)
        turns = left
    dealt[n:] = np.concatenate(repeats)[: k - n]
    return dealt
