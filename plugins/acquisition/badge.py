"""BADGE: tasks whose gradients would be large and unlike each other, by k-means++ in gradient space.

Ash, Zhang, Krishnamurthy, Langford, Agarwal: "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds"
(ICLR 2020). The gradient of the head's weights at the likeliest answer is r_i h_i^T with the residual r_i = p_i - y_i
(c,) and the vector h_i (d,); it is never made, as <g_i, g_j> = <r_i, r_j> <h_i, h_j>. Several choices: the residuals of
the labels side by side.

k-means++ draws each next row in proportion to its squared distance to the nearest drawn one. That only shrinks: rows
are proposed by an old distance and kept with the chance by which it has shrunk, which draws from the same law. Texts
that repeat a labelled or a drawn one are passed over.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml_backend.core.types import Floats, Ints, Pool, Selection
from plugins.acquisition.deduplication import CHUNK, DuplicateFilter, available, deal
from plugins.acquisition.uncertainty import unsure_of

PROPOSALS = 32
"""Rows proposed until all distances are brought up to date."""


class Badge:
    """Before there is a learner every residual counts as 1: k-means++ over the vectors."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        k = min(max(k, 0), len(rows))
        gradients, spread = Gradients(pool.vectors, rows, _residuals(pool, rows)), DuplicateFilter(pool, k)
        drawn = plus_plus(gradients, k, np.random.default_rng(seed), lambda place: not spread.take(rows[[place]]))
        chosen = rows[drawn]
        if len(drawn) < k:  # the others repeat a text, or have no gradient
            chosen = deal(pool, [np.concatenate([chosen, np.delete(rows, drawn)])], k)
        return Selection(chosen, unsure_of(pool, chosen), "unlike the others chosen")


def _residuals(pool: Pool, rows: Ints) -> Floats:
    """(m, c): predicted probabilities minus the likeliest answer."""
    if pool.probabilities is None:
        return np.ones((len(rows), 1), dtype=np.float32)
    residuals = np.array(pool.probabilities[rows], dtype=np.float32)
    if pool.multiple:
        residuals -= residuals >= 0.5
    else:
        residuals[np.arange(len(rows)), residuals.argmax(axis=1)] -= 1.0
    return residuals


class Gradients:
    """m gradients in their two factors: `residuals` (m, c) and the `rows` (m,) of `vectors`."""

    def __init__(self, vectors: Floats, rows: Ints, residuals: Floats) -> None:
        self._vectors, self._rows, self._residuals = vectors, rows, residuals
        self.squares: Floats = np.square(residuals).sum(axis=1)
        for part in _chunks(len(rows)):
            self.squares[part] *= np.square(self._factor(part)).sum(axis=1)

    def distances(self, places: Ints | slice, others: Ints) -> Floats:
        """(p, o) squared distances between the gradients at `places` and at `others`."""
        products = self._factor(places) @ self._factor(others).T
        products *= self._residuals[places] @ self._residuals[others].T
        found = self.squares[places][:, None] + self.squares[others] - 2.0 * products
        return np.asarray(np.maximum(found, 0.0), dtype=np.float32)

    def nearest(self, others: Ints, bound: Floats) -> Floats:
        """`bound` (m,), lowered to the squared distance to the nearest of `others` where that is smaller."""
        out = bound.copy()
        for part in _chunks(len(out)) if len(others) else []:
            out[part] = np.minimum(out[part], self.distances(part, others).min(axis=1))
        out[others] = 0.0
        return out

    def _factor(self, places: Ints | slice) -> Floats:
        return np.asarray(self._vectors[self._rows[places]], dtype=np.float32)


def _chunks(m: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, m, CHUNK)]


def plus_plus(gradients: Gradients, k: int, random: np.random.Generator, fits: Callable[[int], bool]) -> Ints:
    """At most k places of gradients that `fits`, fewer if all others that fit lie on those; the first is the largest,
    as in the authors' code."""
    chosen: list[int] = []
    settled = 0
    bound: Floats = np.full(len(gradients.squares), np.inf, dtype=np.float32)
    while k and not chosen and bound.any():
        place = int(np.where(bound, gradients.squares, -1.0).argmax())
        if fits(place):
            chosen.append(place)
        bound[place] = 0.0
    while len(chosen) < k:
        bound = gradients.nearest(np.array(chosen[settled:], dtype=np.int64), bound)
        settled = len(chosen)
        if not bound.any():
            break
        sums = np.cumsum(bound, dtype=np.float64)
        proposed = np.searchsorted(sums, random.random(PROPOSALS) * sums[-1], side="right").clip(max=len(bound) - 1)
        for place, level in zip(proposed.tolist(), random.random(PROPOSALS), strict=True):
            if len(chosen) == k:
                break
            new = np.array(chosen[settled:], dtype=np.int64)
            now = gradients.distances(np.array([place]), new).min(initial=bound[place])
            if place not in chosen and level * bound[place] < now:
                if fits(place):
                    chosen.append(place)
                else:
                    bound[place] = 0.0
    return np.array(chosen, dtype=np.int64)
