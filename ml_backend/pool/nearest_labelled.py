"""Caches the distance of each task to the nearest labelled task from round to round.

A query strategy needs all distances in each round, but a new label changes only the distances of the tasks around it. A
distance is computed at the first request; later requests compare the task with newly labelled tasks only.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints

ROWS_PER_BLOCK, LABELLED_PER_BLOCK = 1024, 512


class NearestLabelled:
    """Distances between vectors in the slots (rows) of a matrix. The vector in a slot must not change.

    compared  number of pairs of vectors that were compared so far
    """

    def __init__(self, slots: int) -> None:
        self._labelled: Ints = np.empty(0, np.int64)  # slots in the order of their labels; -1: not labelled any more
        self._distance: Floats = np.full(slots, np.inf, np.float32)
        self._nearest: Ints = np.full(slots, -1, np.int64)  # index into _labelled
        self._n_compared: Ints = np.zeros(slots, np.int64)  # by slot: number of entries of _labelled compared with it
        self.compared = 0

    def follow(self, labelled: Ints) -> None:
        """Sets the labelled slots. Discards the distances to slots that are not labelled any more."""
        removed = np.flatnonzero((self._labelled >= 0) & ~np.isin(self._labelled, labelled))
        if len(removed):
            outdated = np.isin(self._nearest, removed)
            self._distance[outdated], self._nearest[outdated], self._n_compared[outdated] = np.inf, -1, 0
            self._labelled[removed] = -1
        new = labelled[~np.isin(labelled, self._labelled)]
        self._labelled = np.concatenate([self._labelled, new])

    def distances(self, matrix: Floats, slots: Ints) -> Floats:
        """(m,) squared distance of each of `slots` (m,) to the nearest labelled slot; infinite if there is none."""
        n_missing = len(self._labelled) - self._n_compared[slots]
        outdated, first = np.unique(slots[n_missing > 0], return_index=True)
        # all slots of a block are compared with as many labelled slots as the slot with most missing comparisons needs,
        # so only slots with about the same number of missing ones share a block
        magnitudes = np.log2(n_missing[n_missing > 0][first]).astype(np.int64)
        for magnitude in np.unique(magnitudes):
            block = outdated[magnitudes == magnitude]
            for start in range(0, len(block), ROWS_PER_BLOCK):
                self._update(matrix, block[start : start + ROWS_PER_BLOCK])
        return self._distance[slots]

    def _update(self, matrix: Floats, slots: Ints) -> None:
        """Compares `slots` with all labelled slots that any of them was not compared with."""
        vectors = matrix[slots]
        squared_norms = np.square(vectors).sum(axis=1)
        first = int(self._n_compared[slots].min())
        indices = first + np.flatnonzero(self._labelled[first:] >= 0)
        for start in range(0, len(indices), LABELLED_PER_BLOCK):
            block = indices[start : start + LABELLED_PER_BLOCK]
            labelled_vectors = matrix[self._labelled[block]]
            distances = vectors @ labelled_vectors.T
            distances *= -2.0
            distances += np.square(labelled_vectors).sum(axis=1)
            nearest = distances.argmin(axis=1)
            distance = np.maximum(distances[np.arange(len(slots)), nearest] + squared_norms, 0.0)
            closer = distance < self._distance[slots]
            self._distance[slots[closer]], self._nearest[slots[closer]] = distance[closer], block[nearest[closer]]
            self.compared += distances.size
        self._n_compared[slots] = len(self._labelled)
