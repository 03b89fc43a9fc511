"""Test rows: a share of the tasks, other ones for each seed, and no copy of a text in the pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.simulation.held_out_split import count_test_rows, split_rows


@given(texts=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), seed=st.integers(0, 99))
def test_every_task_is_on_one_side_and_all_copies_of_a_text_on_the_same(texts: list[str], seed: int) -> None:
    try:
        pool, test = split_rows(texts, seed)
    except ApprenticeError as error:
        assert min(texts.count(text) for text in texts) > count_test_rows(len(texts))
        assert f"Only {len({*texts})} of the texts of {len(texts)} tasks are different" in str(error)
        return
    assert sorted([*pool, *test]) == list(range(len(texts)))
    assert {texts[row] for row in pool}.isdisjoint(texts[row] for row in test)
    assert 1 <= len(test) <= count_test_rows(len(texts))


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_third_is_not_missed_because_of_a_few_copies(copies: int) -> None:
    texts = [f"text {n}" for n in range(100)] + ["text 0"] * (copies - 1)
    assert {len(split_rows(texts, seed)[1]) for seed in range(20)} == {30 if copies < 3 else 31}


def test_seeds_hold_out_others_and_each_seed_always_the_same() -> None:
    texts = [f"text {n}" for n in range(50)]
    rows = [split_rows(texts, seed)[1] for seed in (0, 1, 2)]
    assert len({tuple(test_rows) for test_rows in rows}) == 3
    assert np.array_equal(rows[1], split_rows(texts, 1)[1])
