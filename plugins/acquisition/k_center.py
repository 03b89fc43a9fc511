"""K-center: chooses repeatedly the task that is farthest from all labelled and chosen ones.

Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (ICLR 2018), algorithm 1,
greedy; Gonzalez (1985). A distance to the nearest centre only decreases, so an earlier distance is an upper bound: only
the rows whose bound is above the current maximum are compared again. The result is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Pool, Selection
from plugins.acquisition.deduplication import CHUNK_ROWS, available_rows, known_distances


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """How many rows are in memory at once. The result does not depend on these sizes.

    front    rows with the largest bounds, whose distances are kept exact
    chunk    rows whose bounds are lowered at once
    centres  centres that a chunk is compared with at once, so that the memory does not grow with the labels
    """

    front: int = 2048
    chunk: int = CHUNK_ROWS
    centres: int = 512


class KCenter:
    """Needs no learner. In a pool without labels, the first row is the one farthest from the mean."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        labelled_distances, labelled = known_distances(pool, rows) if k > 0 else (None, rows[:0])
        chosen = rows[farthest_first(pool.vectors, rows, labelled, max(k, 0), labelled_distances)]
        return Selection(chosen, pool.uncertainty("margin", chosen), "unlike all labelled ones")


def farthest_first(
    vectors: Floats, rows: Ints, centres: Ints, k: int, distances: Floats | None = None,
    sizes: BlockSizes = BlockSizes(),
) -> Ints:  # fmt: skip
    """Returns min(k, m) places in `rows` (m,), greedily farthest from the rows `centres` and from each other.
    `distances` (m,): the squared distance of each row to the nearest of further centres, infinite if there are none."""
    k = min(k, len(rows))
    chosen: Ints = np.empty(k, dtype=np.int64)
    bounds: Floats = np.full(len(rows), np.inf, dtype=np.float32) if distances is None else distances.copy()
    new_centres = np.asarray(vectors[centres], dtype=np.float32)
    n = 0
    if k and not len(centres) and np.isinf(bounds).all():
        mean_distances = bounds.copy()
        mean = vectors[rows].mean(axis=0, dtype=np.float32)
        _update_bounds(mean_distances, vectors, rows, mean[None], sizes)
        chosen[0], n = mean_distances.argmax(), 1
        new_centres = np.asarray(vectors[rows[chosen[:1]]], dtype=np.float32)
    while n < k:
        _update_bounds(bounds, vectors, rows, new_centres, sizes)
        bounds[chosen[:n]] = -1.0
        first_new = n
        front = (
            np.argpartition(-bounds, sizes.front - 1)[: sizes.front]
            if len(rows) > sizes.front
            else np.arange(len(rows))
        )
        outside_bounds = bounds.copy()
        outside_bounds[front] = -1.0
        limit = outside_bounds.max()
        distances, front_vectors = bounds[front], np.asarray(vectors[rows[front]], dtype=np.float32)
        while n < k and distances.max() >= limit:
            i = int(distances.argmax())
            chosen[n] = front[i]
            n += 1
            distances = np.minimum(distances, _nearest(front_vectors, front_vectors[i : i + 1]))
            distances[i] = -1.0
        new_centres = np.asarray(vectors[rows[chosen[first_new:n]]], dtype=np.float32)
    return chosen


def _update_bounds(bounds: Floats, vectors: Floats, rows: Ints, centres: Floats, sizes: BlockSizes) -> None:
    """Lowers `bounds` (m,) to the squared distance to the nearest of `centres` (h, d) where that is smaller."""
    for start in range(0, len(rows) if len(centres) else 0, sizes.chunk):
        part = slice(start, start + sizes.chunk)
        block = np.asarray(vectors[rows[part]], dtype=np.float32)
        for first in range(0, len(centres), sizes.centres):
            bounds[part] = np.minimum(bounds[part], _nearest(block, centres[first : first + sizes.centres]))


def _nearest(vectors: Floats, centres: Floats) -> Floats:
    """Returns the squared distance (n,) of each of `vectors` (n, d) to the nearest of `centres` (h, d)."""
    products = vectors @ centres.T
    products *= -2.0
    products += np.square(centres).sum(axis=1)
    squared = products.min(axis=1) + np.square(vectors).sum(axis=1)
    return np.asarray(np.maximum(squared, 0.0), dtype=np.float32)
