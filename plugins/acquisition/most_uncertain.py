"""Uncertainty sampling with the three classic measures (Settles, "Active Learning Literature Survey", 2009)."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Pool, Selection, UncertaintyMeasure
from plugins.acquisition.deduplication import (
    MAX_SEARCHED_ROWS,
    available_rows,
    rows_without_duplicates,
    take_in_turns,
    top_places,
)


class MostUncertain:
    """Chooses the rows with the highest `measure`. Without a learner, a random draw."""

    def __init__(self, measure: UncertaintyMeasure, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        """max_searched_rows: rows of each place of the queue in which duplicates are searched for first"""
        self._measure = measure
        self._max_searched_rows = max_searched_rows

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        if pool.predictions is None or k <= 0:
            chosen = take_in_turns(pool, [np.random.default_rng(seed).permutation(rows)], k)
            return Selection(chosen, pool.uncertainty(self._measure, chosen))
        uncertainties = pool.uncertainty(self._measure, rows)
        n_searched = self._max_searched_rows
        top_rows = rows[top_places(uncertainties, n_searched * k)]
        chosen, _ = rows_without_duplicates(pool, [top_rows], k, n_searched)
        if len(chosen) < k:  # there are many duplicates among the first rows
            chosen = take_in_turns(pool, [rows[top_places(uncertainties, len(rows))]], k, n_searched)
        return Selection(chosen, pool.uncertainty(self._measure, chosen))


class LeastConfidence(MostUncertain):
    def __init__(self, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        super().__init__("least confidence", max_searched_rows)


class Margin(MostUncertain):
    def __init__(self, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        super().__init__("margin", max_searched_rows)


class Entropy(MostUncertain):
    def __init__(self, max_searched_rows: int = MAX_SEARCHED_ROWS) -> None:
        super().__init__("entropy", max_searched_rows)
