"""Reference implementations of the measures of uncertainty, for one row of probabilities."""

from __future__ import annotations

import math


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
