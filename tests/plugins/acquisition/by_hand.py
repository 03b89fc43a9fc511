"""Reference implementations of what the strategies share, in simple loops."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Pool
from plugins.acquisition.deduplication import DUPLICATE_COSINE


def alike(pool: Pool, row: int, other: int) -> bool:
    return (
        sum(float(a) * float(b) for a, b in zip(pool.vectors[row], pool.vectors[other], strict=True)) > DUPLICATE_COSINE
    )


def repeats(pool: Pool, row: int, taken: list[int]) -> bool:
    """Returns whether a row repeats a taken one or, within its cluster, a labelled one."""
    assignment = np.zeros(len(pool.vectors)) if pool.clustering is None else pool.clustering.assignment
    labelled = [other for other in np.flatnonzero(pool.labelled).tolist() if assignment[other] == assignment[row]]
    return any(alike(pool, row, other) for other in taken + labelled)


def deal_by_hand(pool: Pool, queues: list[list[int]], k: int, max_searched_rows: int) -> list[int]:
    taken: list[int] = []
    repetitions: list[int] = []
    while any(queues):
        for queue in queues:
            for _ in range(min(max_searched_rows, len(queue))):
                row = queue.pop(0)
                if not repeats(pool, row, taken):
                    taken.append(row)
                    break
                repetitions.append(row)
            if len(taken) == k:
                return taken
    return (taken + repetitions)[: max(k, 0)]
