"""What the strategies share, written out in loops that are too slow to be wrong."""

from __future__ import annotations

import math

import numpy as np

from ml_backend.core.types import Pool
from plugins.acquisition.deduplication import SAME


def least_confidence_by_hand(row: list[float], multiple: bool) -> float:
    c = len(row)
    if multiple:
        right = 1.0
        for p in row:
            right *= max(p, 1 - p)
        return 2 - 2 * right ** (1 / c)
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
    return sum(float(a) * float(b) for a, b in zip(pool.vectors[row], pool.vectors[other], strict=True)) > SAME


def repeats(pool: Pool, row: int, dealt: list[int]) -> bool:
    """Whether a row says the same as a dealt one or, within its cluster, a labelled one."""
    of = np.zeros(len(pool.vectors)) if pool.clustering is None else pool.clustering.assignment
    labelled = [other for other in np.flatnonzero(pool.labelled).tolist() if of[other] == of[row]]
    return any(alike(pool, row, other) for other in dealt + labelled)


def deal_by_hand(pool: Pool, queues: list[list[int]], k: int, look: int) -> list[int]:
    dealt: list[int] = []
    late: list[int] = []
    while any(queues):
        for queue in queues:
            for _ in range(min(look, len(queue))):
                row = queue.pop(0)
                if not repeats(pool, row, dealt):
                    dealt.append(row)
                    break
                late.append(row)
            if len(dealt) == k:
                return dealt
    return (dealt + late)[: max(k, 0)]
