"""The baseline in random order."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from pools import make_pool

from plugins.acquisition.random import Random


def test_every_set_of_rows_is_as_likely_as_another() -> None:
    pool = make_pool(5, cold=True, free=1.0)
    draws = 3000
    pairs = [tuple(sorted(Random().select(pool, 2, seed).rows.tolist())) for seed in range(draws)]
    for pair in combinations(range(5), 2):
        assert abs(pairs.count(pair) - draws / 10) < 4 * math.sqrt(draws / 10 * 9 / 10)


def test_a_text_is_drawn_as_often_as_it_is_in_the_pool() -> None:
    pool = make_pool(100, free=1.0, labelled=0.0)
    pool.vectors[:90] = pool.vectors[0]
    copies = [(Random().select(pool, 10, seed).rows < 90).sum() for seed in range(200)]
    assert abs(np.mean(copies) - 9) < 4 * np.std(copies) / math.sqrt(200)
