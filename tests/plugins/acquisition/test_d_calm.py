"""D-CALM, compared with its description done step by step in loops."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from by_hand import margin_by_hand
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pools import clustered, make_pool

from ml_backend.core.types import PRIOR_ROWS, Pool
from plugins.acquisition import d_calm
from plugins.acquisition.clusters import cut
from plugins.acquisition.d_calm import DCalm, quotas


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_places_are_shared_by_the_largest_remainder(errors: list[int], k: int) -> None:
    found = quotas(np.array(errors, dtype=np.float32), k).tolist()
    assert sum(found) == k
    weights = errors if any(errors) else [1] * len(errors)
    shares = [Fraction(k * weight, sum(weights)) for weight in weights]
    rest = [share - math.floor(share) for share in shares]
    # one more than the whole part for those with the largest remainders; equal ones may go either way
    order = sorted(range(len(errors)), key=lambda i: -rest[i])
    more = k - sum(math.floor(share) for share in shares)
    least = min((rest[i] for i in order[:more]), default=Fraction(2))
    most = max((rest[i] for i in order[more:]), default=Fraction(-1))
    for places, share, remainder in zip(found, shares, rest, strict=True):
        extra = places - math.floor(share)
        assert extra in (0, 1)
        assert extra == 1 or remainder <= least
        assert extra == 0 or remainder >= most


def errors_by_hand(pool: Pool, clusters: int) -> list[float]:
    assert pool.clustering is not None
    known = {} if pool.errors is None else {row: float(e) for row, e in enumerate(pool.errors) if not math.isnan(e)}
    overall = sum(known.values()) / len(known) if known else 1.0
    out = []
    for cluster in range(clusters):
        mine = [error for row, error in known.items() if pool.clustering.assignment[row] == cluster]
        out.append((sum(mine) + PRIOR_ROWS * overall) / (len(mine) + PRIOR_ROWS))
    return out


@given(clusters=st.integers(1, 6), seed=st.integers(0, 999), errors=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_error_of_a_cluster_is_drawn_to_that_of_all(clusters: int, seed: int, errors: bool) -> None:
    pool = make_pool(40, clusters=clusters, errors=errors, seed=seed)
    assert pool.clustering is not None
    found = pool.errors_by(pool.clustering.assignment, clusters)
    assert (found is None) == (pool.errors is None or bool(np.isnan(pool.errors).all()))
    np.testing.assert_allclose(np.ones(clusters) if found is None else found, errors_by_hand(pool, clusters), rtol=1e-5)


@pytest.mark.parametrize("cold", [False, True])
@given(n=st.integers(20, 70), clusters=st.integers(1, 4), k=st.integers(1, 12), seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_each_part_of_a_cluster_gives_its_most_uncertain_row_or_its_central_one(
    cold: bool, n: int, clusters: int, k: int, seed: int
) -> None:
    pool = make_pool(n, 4, cold=cold, clusters=clusters, errors=True, seed=seed)
    assert pool.clustering is not None
    inside = {
        cluster: rows
        for cluster in range(clusters)
        if len(rows := np.flatnonzero(pool.available & (pool.clustering.assignment == cluster)))
    }
    errors = errors_by_hand(pool, clusters)
    apart = [abs(errors[one] - errors[other]) for one in inside for other in inside]
    assume(all(gap == 0 or gap > 1e-4 for gap in apart))  # else rounding decides which of two is the worse
    places = quotas(np.array([errors[cluster] for cluster in inside], dtype=np.float32), k).tolist()
    parts = []
    for _, quota, rows in sorted(
        ((-errors[cluster], quota, rows) for (cluster, rows), quota in zip(inside.items(), places, strict=True)),
        key=lambda turn: round(turn[0], 5),
    ):
        if quota:
            division = cut(pool.vectors, quota, seed, among=rows)
            groups = [np.flatnonzero(division.assignment == part).tolist() for part in range(len(division.centroids))]
            parts += [(group, middle) for group, middle in zip(groups, division.centroids, strict=True) if group]
    chosen = DCalm().select(pool, k, seed).rows.tolist()
    for row, (group, middle) in zip(chosen, parts, strict=False):
        off = {other: float(np.linalg.norm(pool.vectors[other] - middle)) for other in group}
        if pool.probabilities is not None:
            off = {other: -margin_by_hand(pool.probabilities[other].tolist(), False) for other in group}
        assert row in off, "the parts have their turns, those of the clusters with the most errors first"
        assert off[row] <= min(off.values()) + 2e-6
    first = chosen[: len(parts)]
    assert all(len(set(group) & set(first)) <= 1 for group, _ in parts), "one row of each part"


def test_a_cluster_with_more_errors_gets_more_places() -> None:
    pool = clustered(make_pool(300, labelled=0.4, free=1.0), np.arange(300) % 3, 3)
    wrong = np.where(pool.labelled, np.array([0.1, 0.1, 0.8])[np.arange(300) % 3], np.nan).astype(np.float32)
    assert pool.clustering is not None
    rows = DCalm().select(replace(pool, errors=wrong), 20, 0).rows
    served = np.bincount(pool.clustering.assignment[rows], minlength=3)
    assert served[2] in (15, 16) and served.sum() == 20


def test_a_pool_without_clusters_is_cut_into_its_own() -> None:
    pool = make_pool(120, errors=True)
    own = cut(pool.vectors, d_calm.CLUSTERS, 5)
    rows = DCalm().select(pool, 20, 5).rows.tolist()
    assert rows == DCalm().select(replace(pool, clustering=own), 20, 5).rows.tolist()
