"""Functions of all query strategies: they check the pool, and put duplicates of a text last."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Pool
from ml_backend.core.exceptions import ApprenticeError

DUPLICATE_COSINE = 0.999
"""Cosine above which two texts count as duplicates."""
MAX_SEARCHED_ROWS = 64
"""Rows of a queue that are searched for one that is no duplicate, before the next queue has its turn."""
CHUNK_ROWS = 1024  # as many vectors of a few hundred dimensions fit into the cache of a core


def available_rows(pool: Pool) -> Ints:
    """Returns the rows that may be chosen. Raises ApprenticeError if the arrays of the pool are not aligned, or a
    prediction is not finite. Vectors are not checked: they were checked when they were encoded, and reading all of them
    in each round would take longer than most strategies."""
    n = len(pool.vectors)
    aligned: dict[str, Sized | None] = {
        "labelled": pool.labelled,
        "available": pool.available,
        "predictions": pool.predictions,
        "errors": pool.errors,
        "words": pool.words,
        "draft_failures": pool.draft_failures,
        "clustering": None if pool.clustering is None else pool.clustering.assignment,
    }
    for name, values in aligned.items():
        if values is not None and len(values) != n:
            raise ApprenticeError(f"The pool has {n} vectors but {len(values)} rows of {name}. They must be aligned.")
    if pool.clustering is not None:
        assignment, clusters = pool.clustering.assignment, len(pool.clustering.centroids)
        if len(outside := np.flatnonzero((assignment < 0) | (assignment >= clusters))):
            raise ApprenticeError(
                f"Row {outside[0]} of the pool is in cluster {assignment[outside[0]]}, but there are only the clusters "
                f"0 to {clusters - 1}."
            )
    if pool.predictions is not None and len(not_finite := np.flatnonzero(~pool.predictions.is_finite())):
        raise ApprenticeError(
            f"Row {not_finite[0]} of the pool's predictions is not finite. Correct the learner that returned it."
        )
    return np.flatnonzero(pool.available & ~pool.labelled)


def known_distances(pool: Pool, rows: Ints) -> tuple[Floats, Ints]:
    """Returns the squared distance (m,) of the rows to the nearest labelled row among those whose distances are cached,
    and the labelled rows (h,) that are not."""
    if pool.nearest is None:
        return np.full(len(rows), np.inf, dtype=np.float32), np.flatnonzero(pool.labelled)
    return pool.nearest.distances(rows), np.flatnonzero(pool.labelled & ~pool.nearest.labelled)


class DuplicateFilter:
    """Finds rows that are duplicates neither of a row that was chosen before nor of a labelled row in their cluster.
    At most k rows can be chosen."""

    def __init__(self, pool: Pool, k: int) -> None:
        self._vectors = pool.vectors
        self._chosen_vectors: Floats = np.empty((max(k, 0), pool.vectors.shape[1]), dtype=np.float32)
        self._chosen_count = 0
        self._cluster = None if pool.clustering is None else pool.clustering.assignment
        self._labelled = np.flatnonzero(pool.labelled)

    def take(self, rows: Ints) -> int:
        """Returns the place in `rows` of the first row that is no duplicate, and records that row as chosen; returns
        len(rows) if there is none."""
        for batch in (rows[:1], rows):  # mostly the first row is no duplicate
            vectors = np.asarray(self._vectors[batch], dtype=np.float32)
            is_new = ~(vectors @ self._chosen_vectors[: self._chosen_count].T > DUPLICATE_COSINE).any(axis=1)
            while is_new.any():
                place = int(is_new.argmax())
                if not self._is_duplicate_of_labelled(int(rows[place]), vectors[place]):
                    self._chosen_vectors[self._chosen_count] = vectors[place]
                    self._chosen_count += 1
                    return place
                is_new &= ~(vectors @ vectors[place] > DUPLICATE_COSINE)
                is_new[place] = False
        return len(rows)

    def _is_duplicate_of_labelled(self, row: int, vector: Floats) -> bool:
        labelled = self._labelled
        if self._cluster is not None:
            labelled = labelled[self._cluster[labelled] == self._cluster[row]]
        return bool((np.asarray(self._vectors[labelled], dtype=np.float32) @ vector > DUPLICATE_COSINE).any())


def take_in_turns(pool: Pool, queues: list[Ints], k: int, max_searched_rows: int = MAX_SEARCHED_ROWS) -> Ints:
    """Returns k rows, or all if there are fewer. The next row is taken from each queue in turns; duplicates come after
    all other rows."""
    distinct, duplicates = rows_without_duplicates(pool, queues, k, max_searched_rows)
    return np.concatenate([distinct, duplicates])[: max(k, 0)]


def rows_without_duplicates(
    pool: Pool, queues: list[Ints], k: int, max_searched_rows: int = MAX_SEARCHED_ROWS
) -> tuple[Ints, Ints]:
    """Returns at most k rows without duplicates, taken from the queues in turns, and the duplicates that were
    skipped."""
    duplicates = DuplicateFilter(pool, min(k, sum(map(len, queues))))
    taken: list[int] = []
    skipped: list[Ints] = [np.empty(0, dtype=np.int64)]
    while queues and len(taken) < k:
        remaining = []
        for queue in queues:
            head = queue[:max_searched_rows]
            place = duplicates.take(head)
            skipped.append(head[:place])
            if place < len(head):
                taken.append(int(head[place]))
                if len(taken) == k:
                    break
            tail = queue[min(place + 1, len(head)) :]
            if len(tail):
                remaining.append(tail)
        queues = remaining
    return np.array(taken, dtype=np.int64), np.concatenate(skipped)


def top_places(scores: Floats, k: int) -> Ints:
    """Returns the places of the k highest of `scores` (m,), the highest first; among equal scores, the earlier place
    first."""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= threshold)
    return places[np.argsort(-scores[places], kind="stable")][:k]
