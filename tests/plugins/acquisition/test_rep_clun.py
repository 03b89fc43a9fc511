"""Rep-ClUn: representative rows first, the least certain of each cluster later."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import choices_of, make_pool
from uncertainty_by_hand import entropy_by_hand

from plugins.acquisition.clusters import cut
from plugins.acquisition.rep_clun import RepClUn


@pytest.mark.parametrize("cold", [True, False])
@given(n=st.integers(10, 60), k=st.integers(1, 12), multiple=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_one_row_of_each_cluster_is_chosen_before_a_second_one(
    cold: bool, n: int, k: int, multiple: bool, seed: int
) -> None:
    pool = make_pool(n, 4, cold=cold, multiple=multiple, seed=seed)
    rows = np.flatnonzero(pool.available)
    if not len(rows):
        return
    clustering = cut(pool.vectors, k, seed, among=rows)
    inside = [np.flatnonzero(clustering.assignment == cluster).tolist() for cluster in range(len(clustering.centroids))]
    assert sorted(row for group in inside for row in group) == rows.tolist()
    selection = RepClUn().select(pool, k, seed)
    served = clustering.assignment[selection.rows[: len(inside)]].tolist()
    assert sorted(served) == list(range(len(inside))), "each cluster has its turn"
    ranks = []
    for row, cluster in zip(selection.rows.tolist(), served, strict=False):
        group = inside[cluster]
        if pool.predictions is None:
            distances = {
                other: float(np.linalg.norm(pool.vectors[other] - clustering.centroids[cluster])) for other in group
            }
            ranks.append(float(len(group)))
        else:
            distances = {
                other: -entropy_by_hand(choices_of(pool).probabilities[other].tolist(), multiple) for other in group
            }
            ranks.append(-distances[row])
        assert distances[row] <= min(distances.values()) + 2e-6
    assert all(before >= after - 2e-6 for before, after in pairwise(ranks)), "the largest first, or the least certain"
    if pool.predictions is not None:
        by_hand = [entropy_by_hand(choices_of(pool).probabilities[row].tolist(), multiple) for row in selection.rows]
        np.testing.assert_allclose(selection.uncertainty, by_hand, atol=2e-6)


def test_the_reason_names_the_rule_of_the_round() -> None:
    assert "centre" in RepClUn().select(make_pool(20, cold=True), 3, 0).ground
    assert "certain" in RepClUn().select(make_pool(20), 3, 0).ground
