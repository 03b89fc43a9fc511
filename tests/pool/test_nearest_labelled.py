"""Cached distances to the nearest labelled task are exact, and only new labels are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool, unit_vectors

from ml_backend.core import registry
from ml_backend.core.arrays import LabelledDistances
from ml_backend.pool import nearest_labelled as module
from ml_backend.pool.nearest_labelled import NearestLabelled

SLOTS = 30
MATRIX = unit_vectors(SLOTS, np.random.default_rng(0))
some_slots = st.sets(st.integers(0, SLOTS - 1))


@given(rounds=st.lists(st.tuples(some_slots, some_slots), max_size=6), block_size=st.integers(1, 9))
def test_the_distances_are_those_to_all_labelled_slots(
    rounds: list[tuple[set[int], set[int]]], block_size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_PER_BLOCK", block_size)
        patch.setattr(module, "LABELLED_PER_BLOCK", block_size)
        cache = NearestLabelled(SLOTS)
        for labelled, requested in rounds:
            cache.follow(np.array(sorted(labelled), np.int64))
            slots = np.array(sorted(requested), np.int64)
            distances = cache.distances(MATRIX, slots)
            for slot, distance in zip(slots.tolist(), distances.tolist(), strict=True):
                exact = [float(np.square(MATRIX[slot] - MATRIX[other]).sum()) for other in labelled]
                assert distance == pytest.approx(min(exact, default=np.inf), abs=1e-5)


def test_a_new_label_is_compared_with_the_requested_slots_alone() -> None:
    cache, all_slots = NearestLabelled(SLOTS), np.arange(SLOTS)
    cache.follow(all_slots[:20])
    cache.distances(MATRIX, all_slots)
    assert cache.compared == 20 * SLOTS
    cache.distances(MATRIX, all_slots)
    cache.follow(all_slots[:21])
    cache.distances(MATRIX, all_slots)
    assert cache.compared == 21 * SLOTS


def test_a_slot_requested_for_the_first_time_costs_the_others_no_more_comparisons() -> None:
    cache, all_slots = NearestLabelled(SLOTS), np.arange(SLOTS)
    cache.follow(all_slots[:20])
    cache.distances(MATRIX, all_slots[:29])
    before = cache.compared
    cache.follow(all_slots[:21])
    cache.distances(MATRIX, all_slots)
    assert cache.compared - before == 29 + 21


@pytest.mark.parametrize("strategy", ["cluster-uncertainty", "near-and-far", "k-center"])
@pytest.mark.parametrize("cold", [True, False])
def test_cached_distances_change_no_selection(strategy: str, *, cold: bool) -> None:
    for seed in range(5):
        pool = make_pool(300, cold=cold, seed=seed)
        cache = NearestLabelled(300)
        cache.follow(np.flatnonzero(pool.labelled))
        vectors = pool.vectors
        nearest = LabelledDistances(pool.labelled, lambda rows: cache.distances(vectors, rows))  # noqa: B023
        chosen = [
            registry.acquisition(strategy).select(variant, 20, seed)
            for variant in (pool, replace(pool, nearest=nearest))
        ]
        assert chosen[0].rows.tolist() == chosen[1].rows.tolist()
