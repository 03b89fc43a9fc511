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

    def __init__(self, measure: Measure, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        """max_searched_rows: rows of each place of the queue in which duplicates are searched for first"""
        self._measure = measure
        self._max_searched_rows = max_searched_rows

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        if pool.probabilities is None or k <= 0:
            chosen = take_in_turns(pool, [np.random.default_rng(seed).permutation(rows)], k)
            return Selection(chosen, margin_uncertainty(pool, chosen))
        uncertainties = self._measure(pool.probabilities[rows], pool.multiple)
        n_searched = self._max_searched_rows
        top_rows = rows[top_places(uncertainties, n_searched * k)]
        chosen, _ = rows_without_duplicates(pool, [top_rows], k, n_searched)
        if len(chosen) < k:  # there are many duplicates among the first rows
            chosen = take_in_turns(pool, [rows[top_places(uncertainties, len(rows))]], k, n_searched)
        return Selection(chosen, self._measure(pool.probabilities[chosen], pool.multiple))


class LeastConfidence(MostUncertain):
    def __init__(self, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        super().__init__(least_confidence, max_searched_rows)


class Margin(MostUncertain):
    def __init__(self, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        super().__init__(uncertainty, max_searched_rows)


class Entropy(MostUncertain):
    def __init__(self, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        super().__init__(entropy, max_searched_rows)
