"""D-CALM, compared with its description in simple loops."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pools import choices_of, clustered, make_pool
from uncertainty_by_hand import margin_by_hand

from ml_backend.core.arrays import ERROR_PRIOR_ROWS, Pool
from plugins.acquisition.clusters import DEFAULT_CLUSTERS, cut
from plugins.acquisition.d_calm import DCalm, quotas


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_quotas_are_rounded_by_the_largest_remainder(errors: list[int], k: int) -> None:
    places_by_cluster = quotas(np.array(errors, dtype=np.float32), k).tolist()
    assert sum(places_by_cluster) == k
    weights = errors if any(errors) else [1] * len(errors)
    shares = [Fraction(k * weight, sum(weights)) for weight in weights]
    remainders = [share - math.floor(share) for share in shares]
    # one more than the whole part for those with the largest remainders; equal ones may go either way
    order = sorted(range(len(errors)), key=lambda i: -remainders[i])
    extra_places = k - sum(math.floor(share) for share in shares)
    lowest_extra = min((remainders[i] for i in order[:extra_places]), default=Fraction(2))
    highest_other = max((remainders[i] for i in order[extra_places:]), default=Fraction(-1))
    for places, share, remainder in zip(places_by_cluster, shares, remainders, strict=True):
        extra = places - math.floor(share)
        assert extra in (0, 1)
        assert extra == 1 or remainder <= lowest_extra
        assert extra == 0 or remainder >= highest_other


def errors_by_hand(pool: Pool, clusters: int) -> list[float]:
    assert pool.clustering is not None
    errors_by_row = (
        {} if pool.errors is None else {row: float(e) for row, e in enumerate(pool.errors) if not math.isnan(e)}
    )
    overall = sum(errors_by_row.values()) / len(errors_by_row) if errors_by_row else 1.0
    out = []
    for cluster in range(clusters):
        cluster_errors = [error for row, error in errors_by_row.items() if pool.clustering.assignment[row] == cluster]
        out.append((sum(cluster_errors) + ERROR_PRIOR_ROWS * overall) / (len(cluster_errors) + ERROR_PRIOR_ROWS))
    return out


@given(clusters=st.integers(1, 6), seed=st.integers(0, 999), errors=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_error_of_a_cluster_is_shrunk_towards_the_mean_error(clusters: int, seed: int, errors: bool) -> None:
    pool = make_pool(40, clusters=clusters, errors=errors, seed=seed)
    assert pool.clustering is not None
    cluster_errors = pool.mean_errors_by_group(pool.clustering.assignment, clusters)
    assert (cluster_errors is None) == (pool.errors is None or bool(np.isnan(pool.errors).all()))
    np.testing.assert_allclose(
        np.ones(clusters) if cluster_errors is None else cluster_errors, errors_by_hand(pool, clusters), rtol=1e-5
    )


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
    gaps = [abs(errors[first_cluster] - errors[other]) for first_cluster in inside for other in inside]
    assume(all(gap == 0 or gap > 1e-4 for gap in gaps))  # else rounding decides which of two is the worse
    places = quotas(np.array([errors[cluster] for cluster in inside], dtype=np.float32), k).tolist()
    parts = []
    for _, quota, rows in sorted(
        ((-errors[cluster], quota, rows) for (cluster, rows), quota in zip(inside.items(), places, strict=True)),
        key=lambda turn: round(turn[0], 5),
    ):
        if quota:
            division = cut(pool.vectors, quota, seed, among=rows)
            groups = [np.flatnonzero(division.assignment == part).tolist() for part in range(len(division.centroids))]
            parts += [(group, centroid) for group, centroid in zip(groups, division.centroids, strict=True) if group]
    chosen = DCalm().select(pool, k, seed).rows.tolist()
    for row, (group, centroid) in zip(chosen, parts, strict=False):
        distances = {other: float(np.linalg.norm(pool.vectors[other] - centroid)) for other in group}
        if pool.predictions is not None:
            shares = choices_of(pool).probabilities
            distances = {other: -margin_by_hand(shares[other].tolist(), False) for other in group}
        assert row in distances, "the parts have their turns, those of the clusters with the most errors first"
        assert distances[row] <= min(distances.values()) + 2e-6
    first = chosen[: len(parts)]
    assert all(len(set(group) & set(first)) <= 1 for group, _ in parts), "one row of each part"


def test_more_rows_are_chosen_from_a_cluster_with_more_errors() -> None:
    pool = clustered(make_pool(300, labelled=0.4, free=1.0), np.arange(300) % 3, 3)
    errors = np.where(pool.labelled, np.array([0.1, 0.1, 0.8])[np.arange(300) % 3], np.nan).astype(np.float32)
    assert pool.clustering is not None
    rows = DCalm().select(replace(pool, errors=errors), 20, 0).rows
    served = np.bincount(pool.clustering.assignment[rows], minlength=3)
    assert served[2] in (15, 16) and served.sum() == 20


def test_a_pool_without_clusters_is_clustered_first() -> None:
    pool = make_pool(120, errors=True)
    clustering = cut(pool.vectors, DEFAULT_CLUSTERS, 5)
    rows = DCalm().select(pool, 20, 5).rows.tolist()
    assert rows == DCalm().select(replace(pool, clustering=clustering), 20, 5).rows.tolist()
