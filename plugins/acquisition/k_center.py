"""K-center: the task that is farthest from all that are labelled or chosen, again and again.

Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (ICLR 2018), algorithm 1,
greedy; Gonzalez (1985). A distance to the nearest centre only shrinks, so an old one is an upper bound: only the rows
whose bound is above the current maximum are looked at again. That is exact, and far fewer than all.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints, Pool, Selection
from plugins.acquisition.deduplication import CHUNK, available, remembered
from plugins.acquisition.uncertainty import unsure_of

FRONT = 2048
"""Rows with the largest bounds that are kept exact; all others wait."""
AT_ONCE = 512
"""Centres that a chunk of rows is compared with at once: the memory does not grow with the labels."""


class KCenter:
    """Needs no learner. The first of a pool without labels is the row farthest from the mean."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        near, labelled = remembered(pool, rows) if k > 0 else (None, rows[:0])
        chosen = rows[farthest_first(pool.vectors, rows, labelled, max(k, 0), near)]
        return Selection(chosen, unsure_of(pool, chosen), "unlike all labelled ones")


def farthest_first(vectors: Floats, rows: Ints, centres: Ints, k: int, near: Floats | None = None) -> Ints:
    """(min(k, m),) places in `rows` (m,), greedily farthest from the rows `centres` and from each other. `near` (m,):
    the squared distance of each to the nearest of other centres, infinite where there is none."""
    k = min(k, len(rows))
    chosen: Ints = np.empty(k, dtype=np.int64)
    bound: Floats = np.full(len(rows), np.inf, dtype=np.float32) if near is None else near.copy()
    start = np.asarray(vectors[centres], dtype=np.float32)
    n = 0
    if k and not len(centres) and np.isinf(bound).all():
        from_mean = bound.copy()
        _shrink(from_mean, vectors, rows, vectors[rows].mean(axis=0, dtype=np.float32)[None])
        chosen[0], n = from_mean.argmax(), 1
        start = np.asarray(vectors[rows[chosen[:1]]], dtype=np.float32)
    while n < k:
        _shrink(bound, vectors, rows, start)
        bound[chosen[:n]] = -1.0
        settled = n
        front = np.argpartition(-bound, FRONT - 1)[:FRONT] if len(rows) > FRONT else np.arange(len(rows))
        outside = bound.copy()
        outside[front] = -1.0
        limit = outside.max()
        near, block = bound[front], np.asarray(vectors[rows[front]], dtype=np.float32)
        while n < k and near.max() >= limit:
            place = int(near.argmax())
            chosen[n] = front[place]
            n += 1
            near = np.minimum(near, _nearest(block, block[place : place + 1]))
            near[place] = -1.0
        start = np.asarray(vectors[rows[chosen[settled:n]]], dtype=np.float32)
    return chosen


def _shrink(bound: Floats, vectors: Floats, rows: Ints, centres: Floats) -> None:
    """Lowers `bound` (m,) to the squared distance to the nearest of `centres` (h, d) where that is smaller."""
    for start in range(0, len(rows) if len(centres) else 0, CHUNK):
        part = slice(start, start + CHUNK)
        some = np.asarray(vectors[rows[part]], dtype=np.float32)
        for at in range(0, len(centres), AT_ONCE):
            bound[part] = np.minimum(bound[part], _nearest(some, centres[at : at + AT_ONCE]))


def _nearest(vectors: Floats, centres: Floats) -> Floats:
    """(n,) squared distance of each of `vectors` (n, d) to the nearest of `centres` (h, d)."""
    products = vectors @ centres.T
    products *= -2.0
    products += np.square(centres).sum(axis=1)
    found = products.min(axis=1) + np.square(vectors).sum(axis=1)
    return np.asarray(np.maximum(found, 0.0), dtype=np.float32)
