"""Distances to the nearest answered task: those of looking at all, and only what is new is looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool, unit_vectors

from ml_backend.core import registry
from ml_backend.core.types import Nearest
from ml_backend.pool import nearest_labelled as module
from ml_backend.pool.nearest_labelled import NearestLabelled

SLOTS = 30
MATRIX = unit_vectors(SLOTS, np.random.default_rng(0))
some_slots = st.sets(st.integers(0, SLOTS - 1))


@given(rounds=st.lists(st.tuples(some_slots, some_slots), max_size=6), at_once=st.integers(1, 9))
def test_the_distances_are_those_of_looking_at_all_answers(
    rounds: list[tuple[set[int], set[int]]], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_AT_ONCE", at_once)
        patch.setattr(module, "ANSWERS_AT_ONCE", at_once)
        remembered = NearestLabelled(SLOTS)
        for answered, asked in rounds:
            remembered.follow(np.array(sorted(answered), np.int64))
            slots = np.array(sorted(asked), np.int64)
            found = remembered.distances(MATRIX, slots)
            for slot, distance in zip(slots.tolist(), found.tolist(), strict=True):
                apart = [float(np.square(MATRIX[slot] - MATRIX[other]).sum()) for other in answered]
                assert distance == pytest.approx(min(apart, default=np.inf), abs=1e-5)


def test_one_more_answer_is_compared_with_what_is_asked_for_and_nothing_else() -> None:
    remembered, everything = NearestLabelled(SLOTS), np.arange(SLOTS)
    remembered.follow(everything[:20])
    remembered.distances(MATRIX, everything)
    assert remembered.compared == 20 * SLOTS
    remembered.distances(MATRIX, everything)
    remembered.follow(everything[:21])
    remembered.distances(MATRIX, everything)
    assert remembered.compared == 21 * SLOTS


def test_a_task_that_is_asked_for_first_does_not_cost_the_others_a_look_at_all_answers() -> None:
    remembered, everything = NearestLabelled(SLOTS), np.arange(SLOTS)
    remembered.follow(everything[:20])
    remembered.distances(MATRIX, everything[:29])
    before = remembered.compared
    remembered.follow(everything[:21])
    remembered.distances(MATRIX, everything)
    assert remembered.compared - before == 29 + 21


@pytest.mark.parametrize("strategy", ["cluster-uncertainty", "near-and-far", "k-center"])
@pytest.mark.parametrize("cold", [True, False])
def test_what_is_remembered_changes_no_choice(strategy: str, *, cold: bool) -> None:
    for seed in range(5):
        pool = make_pool(300, cold=cold, seed=seed)
        remembered = NearestLabelled(300)
        remembered.follow(np.flatnonzero(pool.labelled))
        vectors = pool.vectors
        nearest = Nearest(pool.labelled, lambda rows: remembered.distances(vectors, rows))  # noqa: B023
        chosen = [
            registry.acquisition(strategy).select(some, 20, seed) for some in (pool, replace(pool, nearest=nearest))
        ]
        assert chosen[0].rows.tolist() == chosen[1].rows.tolist()
