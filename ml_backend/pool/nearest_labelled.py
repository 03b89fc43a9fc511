"""How far each task is from the nearest answered one, remembered from round to round.

An answer changes the distance of the few tasks around it, and a query strategy asks for all of them again each round. A
distance is made when it is first asked for; after that, only the answers that have come since are looked at.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints

ROWS_AT_ONCE, ANSWERS_AT_ONCE = 1024, 512


class NearestLabelled:
    """Of vectors that lie in the slots of a matrix, where they do not change."""

    def __init__(self, slots: int) -> None:
        self._answered: Ints = np.empty(0, np.int64)  # slots, in the order in which they came; -1: no more
        self._distance: Floats = np.full(slots, np.inf, np.float32)
        self._nearest: Ints = np.full(slots, -1, np.int64)  # place among the answered
        self._seen: Ints = np.zeros(slots, np.int64)  # how many of the answered the distance is the least of
        self.compared = 0

    def follow(self, answered: Ints) -> None:
        """Says which slots are answered now. What was nearest to one that is no more is looked for anew."""
        gone = np.flatnonzero((self._answered >= 0) & ~np.isin(self._answered, answered))
        if len(gone):
            lost = np.isin(self._nearest, gone)
            self._distance[lost], self._nearest[lost], self._seen[lost] = np.inf, -1, 0
            self._answered[gone] = -1
        new = answered[~np.isin(answered, self._answered)]
        self._answered = np.concatenate([self._answered, new])

    def distances(self, matrix: Floats, slots: Ints) -> Floats:
        """(m,) squared distance of each of some slots of `matrix` to the nearest answered one; inf if there is none."""
        unseen = len(self._answered) - self._seen[slots]
        behind, first = np.unique(slots[unseen > 0], return_index=True)
        # rows are compared together with those that lack about as many: one that is new would cost all others, too
        doublings = np.log2(unseen[unseen > 0][first]).astype(np.int64)
        for some in np.unique(doublings):
            rows = behind[doublings == some]
            for start in range(0, len(rows), ROWS_AT_ONCE):
                self._catch_up(matrix, rows[start : start + ROWS_AT_ONCE])
        return self._distance[slots]

    def _catch_up(self, matrix: Floats, rows: Ints) -> None:
        vectors = matrix[rows]
        squares = np.square(vectors).sum(axis=1)
        first = int(self._seen[rows].min())
        places = first + np.flatnonzero(self._answered[first:] >= 0)
        for start in range(0, len(places), ANSWERS_AT_ONCE):
            some = places[start : start + ANSWERS_AT_ONCE]
            others = matrix[self._answered[some]]
            found = vectors @ others.T
            found *= -2.0
            found += np.square(others).sum(axis=1)
            best = found.argmin(axis=1)
            distance = np.maximum(found[np.arange(len(rows)), best] + squares, 0.0)
            closer = distance < self._distance[rows]
            self._distance[rows[closer]], self._nearest[rows[closer]] = distance[closer], some[best[closer]]
            self.compared += found.size
        self._seen[rows] = len(self._answered)
