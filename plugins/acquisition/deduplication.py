"""What every strategy shares: the check of what it was given, and that repetitions of a text wait until the end."""

from __future__ import annotations

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Floats, Ints, Pool

SAME = 0.999
"""Cosine above which two texts count as one."""
LOOK = 64
"""How far a queue is searched for a task unlike those chosen, before its turn passes."""
CHUNK = 1024  # rows whose vectors, of some hundred dimensions, fit into the cache of a core


def available(pool: Pool) -> Ints:
    """The rows that may be chosen. Raises ApprenticeError if the arrays of the pool do not fit each other, or a
    probability is not finite. The vectors were looked at when they were made: reading them all again, each round, would
    take longer than most strategies."""
    n = len(pool.vectors)
    aligned = {
        "labelled": pool.labelled,
        "available": pool.available,
        "probabilities": pool.probabilities,
        "errors": pool.errors,
        "clustering": None if pool.clustering is None else pool.clustering.assignment,
    }
    for name, array in aligned.items():
        if array is not None and len(array) != n:
            raise ApprenticeError(f"The pool has {n} vectors but {len(array)} rows of {name}. They must be aligned.")
    if pool.clustering is not None:
        of, clusters = pool.clustering.assignment, len(pool.clustering.centroids)
        if len(lost := np.flatnonzero((of < 0) | (of >= clusters))):
            raise ApprenticeError(f"Row {lost[0]} of the pool is in cluster {of[lost[0]]}, but there are {clusters}.")
    if pool.probabilities is not None and not np.isfinite(pool.probabilities.sum(dtype=np.float64)):
        bad = np.flatnonzero(~np.isfinite(pool.probabilities).all(axis=1))
        raise ApprenticeError(f"Row {bad[0]} of the pool's probabilities is not finite. Mend the learner that made it.")
    return np.flatnonzero(pool.available & ~pool.labelled)


def remembered(pool: Pool, rows: Ints) -> tuple[Floats, Ints]:
    """The squared distance (m,) of some rows to the nearest labelled one, as far as it is remembered, and the labelled
    rows (h,) that have to be looked at."""
    if pool.nearest is None:
        return np.full(len(rows), np.inf, dtype=np.float32), np.flatnonzero(pool.labelled)
    return pool.nearest.distances(rows), np.flatnonzero(pool.labelled & ~pool.nearest.among)


class DuplicateFilter:
    """Tells which rows repeat one that was chosen before or, within its cluster, a labelled one."""

    def __init__(self, pool: Pool, k: int) -> None:
        self._vectors = pool.vectors
        self._seen: Floats = np.empty((max(k, 0), pool.vectors.shape[1]), dtype=np.float32)
        self._n = 0
        self._cluster = None if pool.clustering is None else pool.clustering.assignment
        self._labelled = np.flatnonzero(pool.labelled)

    def take(self, rows: Ints) -> int:
        """The place in `rows` of the first that repeats nothing, noted as chosen; len(rows) if there is none."""
        for some in (rows[:1], rows):  # mostly it is the first, and the vectors of the others need not be read
            vectors = np.asarray(self._vectors[some], dtype=np.float32)
            fresh = ~(vectors @ self._seen[: self._n].T > SAME).any(axis=1)
            while fresh.any():
                place = int(fresh.argmax())
                if not self._answered(int(rows[place]), vectors[place]):
                    self._seen[self._n] = vectors[place]
                    self._n += 1
                    return place
                fresh &= ~(vectors @ vectors[place] > SAME)
                fresh[place] = False
        return len(rows)

    def _answered(self, row: int, vector: Floats) -> bool:
        mine = self._labelled
        if self._cluster is not None:
            mine = mine[self._cluster[mine] == self._cluster[row]]
        return bool((np.asarray(self._vectors[mine], dtype=np.float32) @ vector > SAME).any())


def deal(pool: Pool, queues: list[Ints], k: int) -> Ints:
    """k rows, or all there are: pass after pass, the next of each queue; repetitions only when nothing else is left."""
    unlike, repeats = unlike_rows(pool, queues, k)
    return np.concatenate([unlike, repeats])[: max(k, 0)]


def unlike_rows(pool: Pool, queues: list[Ints], k: int) -> tuple[Ints, Ints]:
    """At most k rows that repeat nothing, dealt from the queues in turn; and the repetitions that were passed over."""
    spread = DuplicateFilter(pool, min(k, sum(map(len, queues))))
    dealt: list[int] = []
    repeats: list[Ints] = [np.empty(0, dtype=np.int64)]
    while queues and len(dealt) < k:
        left = []
        for queue in queues:
            ahead = queue[:LOOK]
            step = spread.take(ahead)
            repeats.append(ahead[:step])
            if step < len(ahead):
                dealt.append(int(ahead[step]))
                if len(dealt) == k:
                    break
            behind = queue[min(step + 1, len(ahead)) :]
            if len(behind):
                left.append(behind)
        queues = left
    return np.array(dealt, dtype=np.int64), np.concatenate(repeats)


def top(scores: Floats, k: int) -> Ints:
    """The places of the k highest of `scores` (m,), highest first, earlier places first among equals."""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    edge = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= edge)
    return places[np.argsort(-scores[places], kind="stable")][:k]
