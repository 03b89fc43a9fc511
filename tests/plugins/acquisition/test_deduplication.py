"""Taking rows from queues in turns, compared with a loop over every pair of texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from by_hand import deal_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import clustered, make_pool, unit_vectors

from ml_backend.core.arrays import Ints, Pool
from plugins.acquisition.deduplication import available_rows, rows_without_duplicates, take_in_turns, top_places


def pool_with_repetitions(n: int, different: int, clusters: int, seed: int) -> tuple[Pool, np.random.Generator]:
    generator = np.random.default_rng(seed)
    text = generator.integers(0, different, n)
    pool = replace(make_pool(n, seed=seed), vectors=unit_vectors(different, generator)[text])
    # one text is always in one cluster
    return (clustered(pool, text % clusters, clusters) if clusters else pool), generator


def queues_of(pool: Pool, queues: int, generator: np.random.Generator) -> list[Ints]:
    rows = generator.permutation(available_rows(pool))
    return [queue for queue in np.split(rows, np.sort(generator.integers(0, len(rows) + 1, queues - 1))) if len(queue)]


@pytest.mark.parametrize("max_searched_rows", [1, 2, 64])
@given(
    n=st.integers(1, 40),
    different=st.integers(1, 30),
    clusters=st.integers(0, 3),
    queues=st.integers(1, 6),
    k=st.integers(0, 45),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_rows_are_taken_from_each_queue_in_turns_and_duplicates_last(
    max_searched_rows: int,
    n: int,
    different: int,
    clusters: int,
    queues: int,
    k: int,
    seed: int,
) -> None:
    pool, generator = pool_with_repetitions(n, different, clusters, seed)
    turns = queues_of(pool, queues, generator)
    expected = deal_by_hand(pool, [turn.tolist() for turn in turns], k, max_searched_rows)
    assert take_in_turns(pool, turns, k, max_searched_rows).tolist() == expected
    unlike, passed = rows_without_duplicates(pool, turns, k, max_searched_rows)
    assert unlike.tolist() == expected[: len(unlike)]
    if len(unlike) < k:
        assert sorted([*unlike, *passed]) == sorted(np.concatenate([*turns, np.empty(0, np.int64)]))


@pytest.mark.parametrize("copies", [63, 64, 65, 66, 127, 128, 129, 193])
def test_no_duplicate_is_lost_at_the_end_of_the_searched_rows(copies: int) -> None:
    pool = make_pool(copies, free=1.0, labelled=0.0)
    pool.vectors[:] = pool.vectors[0]
    assert take_in_turns(pool, [np.arange(copies)], copies).tolist() == list(range(copies))


def test_the_search_ends_for_vectors_of_nearly_unit_length() -> None:
    pool = make_pool(6, free=1.0, labelled=0.0)
    vectors = np.repeat(pool.vectors[:1], 6, axis=0) * np.float32(0.95)
    vectors[0] *= 1.3  # labelled: the others are like it, but not like themselves
    pool = replace(pool, vectors=vectors, labelled=np.arange(6) == 0)
    assert take_in_turns(pool, [np.arange(1, 6)], 5).tolist() == [1, 2, 3, 4, 5]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 40))
def test_the_highest_come_first_and_earlier_places_among_equals(levels: list[int], k: int) -> None:
    expected = sorted(range(len(levels)), key=lambda place: (-levels[place], place))[:k]
    assert top_places(np.array(levels, dtype=np.float32), k).tolist() == expected


def test_rows_that_are_available_and_have_no_label_may_be_chosen() -> None:
    pool = replace(make_pool(4), available=np.array([1, 1, 0, 0], bool), labelled=np.array([0, 1, 0, 1], bool))
    assert available_rows(pool).tolist() == [0]


def test_vectors_whose_sum_is_too_large_for_a_float_are_still_finite() -> None:
    pool = make_pool(3, labelled=0.0, free=1.0)
    assert available_rows(replace(pool, vectors=np.full((3, 12), 3e38, np.float32))).tolist() == [0, 1, 2]
