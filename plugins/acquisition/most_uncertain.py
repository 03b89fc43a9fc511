"""Uncertainty sampling with the three classic measures (see `uncertainty`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml_backend.core.arrays import Floats, Pool, Selection
from plugins.acquisition.deduplication import (
    MAX_SEARCHED_ROWS,
    available_rows,
    rows_without_duplicates,
    take_in_turns,
    top_places,
)
from plugins.acquisition.uncertainty import entropy, least_confidence, margin_uncertainty, uncertainty

Measure = Callable[[Floats, bool], Floats]


class MostUncertain:
    """Chooses the rows with the highest `measure`. Without a learner, a random draw."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        if pool.probabilities is None or k <= 0:
            chosen = take_in_turns(pool, [np.random.default_rng(seed).permutation(rows)], k)
            return Selection(chosen, margin_uncertainty(pool, chosen))
        uncertainties = self._measure(pool.probabilities[rows], pool.multiple)
        chosen, _ = rows_without_duplicates(pool, [rows[top_places(uncertainties, MAX_SEARCHED_ROWS * k)]], k)
        if len(chosen) < k:  # there are many duplicates among the first rows
            chosen = take_in_turns(pool, [rows[top_places(uncertainties, len(rows))]], k)
        return Selection(chosen, self._measure(pool.probabilities[chosen], pool.multiple))


class LeastConfidence(MostUncertain):
    def __init__(self) -> None:
        super().__init__(least_confidence)


class Margin(MostUncertain):
    def __init__(self) -> None:
        super().__init__(uncertainty)


class Entropy(MostUncertain):
    def __init__(self) -> None:
        super().__init__(entropy)
