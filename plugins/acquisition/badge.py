"""BADGE: tasks whose gradients are large and differ from each other, by k-means++ in gradient space.

Ash, Zhang, Krishnamurthy, Langford, Agarwal: "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds"
(ICLR 2020). The gradient of the head's weights at the likeliest label is r_i h_i^T with the residual r_i = p_i - y_i
(c,) and the vector h_i (d,). The gradients are never computed, because <g_i, g_j> = <r_i, r_j> <h_i, h_j>.

k-means++ draws each next row in proportion to its squared distance to the nearest drawn row. That distance only
decreases: rows are proposed by an earlier distance and accepted with the ratio by which it has decreased, which gives
the same distribution. Duplicates of a labelled or a drawn text are skipped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Pool, Selection
from ml_backend.core.exceptions import ApprenticeError
from plugins.acquisition.deduplication import CHUNK_ROWS, DuplicateFilter, available_rows, take_in_turns

PROPOSALS_PER_UPDATE = 32
"""Number of rows that are proposed before all distances are updated."""


class Badge:
    """Without a learner, every residual counts as 1: k-means++ over the vectors."""

    needs_class_probabilities = True

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        k = min(max(k, 0), len(rows))
        gradients, duplicates = Gradients(pool.vectors, rows, gradient_residuals(pool, rows)), DuplicateFilter(pool, k)
        places = k_means_plus_plus(gradients, k, np.random.default_rng(seed), lambda i: not duplicates.take(rows[[i]]))
        chosen = rows[places]
        if len(places) < k:  # the other rows are duplicates, or have no gradient
            chosen = take_in_turns(pool, [np.concatenate([chosen, np.delete(rows, places)])], k)
        return Selection(chosen, pool.uncertainty("margin", chosen), "unlike the others chosen")


def gradient_residuals(pool: Pool, rows: Ints) -> Floats:
    """Returns the residuals (m, r) of the predictions; without a learner, ones (m, 1). Raises ApprenticeError if the
    kind of label has none."""
    if pool.predictions is None:
        return np.ones((len(rows), 1), dtype=np.float32)
    residuals = pool.predictions.gradient_residuals(rows)
    if residuals is None:
        raise ApprenticeError(
            "The query strategy badge needs class probabilities, but the predictions for a control of this project "
            "have none. Choose cluster-uncertainty, margin, least-confidence or entropy instead."
        )
    return residuals


class Gradients:
    """m gradients as their two factors: `residuals` (m, r) and the `rows` (m,) of `vectors`."""

    def __init__(self, vectors: Floats, rows: Ints, residuals: Floats) -> None:
        self._vectors, self._rows, self._residuals = vectors, rows, residuals
        self.squares: Floats = np.square(residuals).sum(axis=1)
        for part in _row_chunks(len(rows)):
            self.squares[part] *= np.square(self._factor(part)).sum(axis=1)

    def distances(self, places: Ints | slice, others: Ints) -> Floats:
        """Returns the squared distances (p, o) between the gradients at `places` and at `others`."""
        products = self._factor(places) @ self._factor(others).T
        products *= self._residuals[places] @ self._residuals[others].T
        squared = self.squares[places][:, None] + self.squares[others] - 2.0 * products
        return np.asarray(np.maximum(squared, 0.0), dtype=np.float32)

    def nearest(self, others: Ints, bounds: Floats) -> Floats:
        """Returns `bounds` (m,), lowered to the squared distance to the nearest of `others` where that is smaller."""
        out = bounds.copy()
        for part in _row_chunks(len(out)) if len(others) else []:
            out[part] = np.minimum(out[part], self.distances(part, others).min(axis=1))
        out[others] = 0.0
        return out

    def _factor(self, places: Ints | slice) -> Floats:
        return np.asarray(self._vectors[self._rows[places]], dtype=np.float32)


def _row_chunks(m: int) -> list[slice]:
    return [slice(start, start + CHUNK_ROWS) for start in range(0, m, CHUNK_ROWS)]


def k_means_plus_plus(
    gradients: Gradients, k: int, random: np.random.Generator, may_take: Callable[[int], bool],
    proposals_per_update: int = PROPOSALS_PER_UPDATE,
) -> Ints:  # fmt: skip
    """Returns at most k places of gradients that `may_take` accepts, fewer if all others have the distance 0. The first
    is the largest gradient, as in the authors' code."""
    chosen: list[int] = []
    compared_count = 0  # number of chosen rows whose distances are in `bounds`
    bounds: Floats = np.full(len(gradients.squares), np.inf, dtype=np.float32)
    while k and not chosen and bounds.any():
        place = int(np.where(bounds, gradients.squares, -1.0).argmax())
        if may_take(place):
            chosen.append(place)
        bounds[place] = 0.0
    while len(chosen) < k:
        bounds = gradients.nearest(np.array(chosen[compared_count:], dtype=np.int64), bounds)
        compared_count = len(chosen)
        if not bounds.any():
            break
        cumulative = np.cumsum(bounds, dtype=np.float64)
        proposed = np.searchsorted(cumulative, random.random(proposals_per_update) * cumulative[-1], side="right").clip(
            max=len(bounds) - 1
        )
        for place, threshold in zip(proposed.tolist(), random.random(proposals_per_update), strict=True):
            if len(chosen) == k:
                break
            uncompared = np.array(chosen[compared_count:], dtype=np.int64)
            distance = gradients.distances(np.array([place]), uncompared).min(initial=bounds[place])
            if place not in chosen and threshold * bounds[place] < distance:
                if may_take(place):
                    chosen.append(place)
                else:
                    bounds[place] = 0.0
    return np.array(chosen, dtype=np.int64)
