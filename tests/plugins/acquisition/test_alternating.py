"""Typical and far tasks in turns, also if only the head of a queue is annotated before the next round."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.core.arrays import Floats, Ints, Pool
from plugins.acquisition.alternating import NearAndFar
from plugins.acquisition.cluster_uncertainty import Coverage
from plugins.acquisition.k_center import KCenter


def pool(labelled: Ints) -> Pool:
    """Many tasks around one place, and a few outliers."""
    random = np.random.default_rng(0)
    vectors: Floats = np.concatenate([random.normal(size=(180, 5)), 6 * random.normal(size=(20, 5))]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1).max()
    mask = np.zeros(200, np.bool_)
    mask[labelled] = True
    return Pool(vectors, None, mask, ~mask)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_the_number_of_labels_decides_which_strategy_comes_first(n: int) -> None:
    tasks = pool(np.arange(n))
    near, far = (strategy.select(tasks, 5, 0).rows for strategy in (Coverage(), KCenter()))
    rows = NearAndFar().select(tasks, 10, 0).rows
    first, second = (near, far) if n % 2 == 0 else (far, near)
    assert rows[0::2].tolist() == first.tolist(), "the first strategy chooses as if it were alone"
    assert set(rows[1::2]).isdisjoint(first)
    distances = np.linalg.norm(tasks.vectors[rows], axis=1)
    ratio = distances[0::2].mean() / distances[1::2].mean()
    assert ratio < 0.7 if n % 2 == 0 else ratio > 1.4, "the other strategy chooses after it"
    assert second[0] in rows or n % 2


def test_with_one_annotation_a_round_both_kinds_are_served() -> None:
    labelled: list[int] = []
    for _ in range(12):
        labelled.append(int(NearAndFar().select(pool(np.array(labelled, np.int64)), 20, 0).rows[0]))
    outliers = [row >= 180 for row in labelled]
    assert outliers[1::2] == [True] * 6 and not any(outliers[0::2][:3])


def test_the_first_strategy_chooses_a_single_row_and_all_rows_are_served_in_the_end() -> None:
    tasks = pool(np.arange(3))
    assert NearAndFar().select(tasks, 1, 0).rows.tolist() == KCenter().select(tasks, 1, 0).rows.tolist()
    assert sorted(NearAndFar().select(tasks, 500, 0).rows.tolist()) == list(range(3, 200))
