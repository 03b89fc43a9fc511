"""Reference implementations of what the strategies share, in simple loops."""

from __future__ import annotations

import math

import numpy as np

from ml_backend.core.arrays import Pool
from plugins.acquisition.deduplication import DUPLICATE_COSINE


def least_confidence_by_hand(row: list[float], multiple: bool) -> float:
    c = len(row)
    if multiple:
        product = 1.0
        for p in row:
            product *= max(p, 1 - p)
        return float(2 - 2 * product ** (1 / c))
    return 0.0 if c == 1 else (1 - max(row)) / (1 - 1 / c)


def margin_by_hand(row: list[float], multiple: bool) -> float:
    if multiple:
        return max(1 - abs(p - (1 - p)) for p in row)
    if len(row) == 1:
        return 0.0
    best, second = sorted(row, reverse=True)[:2]
    return 1 - (best - second)


def entropy_by_hand(row: list[float], multiple: bool) -> float:
    def surprise(p: float, base: float) -> float:
        return 0.0 if p == 0 else -p * math.log(p) / math.log(base)

    if multiple:
        return sum(surprise(p, 2) + surprise(1 - p, 2) for p in row) / len(row)
    return 0.0 if len(row) == 1 else sum(surprise(p, len(row)) for p in row)


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
