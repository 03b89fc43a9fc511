"""What every acquisition strategy promises, on pools of every awkward shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.domain import Floats, Pool
from ml_backend.ports import Acquisition
from plugins.acquisition.cluster_uncertainty import ClusterUncertainty
from plugins.acquisition.random import Random

STRATEGIES: list[Callable[[], Acquisition]] = [lambda: ClusterUncertainty(6), Random]


def make_pool(n: int, c: int = 3, *, cold: bool = False, multiple: bool = False, seed: int = 0) -> Pool:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(n, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shares: Floats = generator.dirichlet(np.ones(c), n).astype(np.float32)
    if multiple:
        shares = generator.random((n, c)).astype(np.float32)
    labelled = generator.random(n) < (0.0 if cold else 0.2)
    return Pool(vectors, None if cold else shares, labelled, ~labelled & (generator.random(n) < 0.8), multiple)


def check(strategy: Acquisition, pool: Pool, k: int) -> None:
    chosen = strategy.select(pool, k, 0)
    assert chosen.rows.dtype == np.int64 and chosen.uncertainty.dtype == np.float32
    assert len(chosen.rows) == len(chosen.uncertainty) == min(max(k, 0), int(pool.available.sum()))
    assert len(set(chosen.rows.tolist())) == len(chosen.rows)
    assert pool.available[chosen.rows].all()
    if pool.probabilities is None:
        assert np.isnan(chosen.uncertainty).all()
    else:
        decided = chosen.uncertainty[~np.isnan(chosen.uncertainty)]
        assert ((decided >= 0) & (decided <= 1)).all()


@pytest.fixture(params=STRATEGIES, ids=["cluster_uncertainty", "random"])
def strategy(request: pytest.FixtureRequest) -> Acquisition:
    made: Acquisition = request.param()
    return made


@given(
    make=st.sampled_from(STRATEGIES),
    n=st.integers(1, 60),
    k=st.integers(-1, 70),
    c=st.integers(1, 4),
    cold=st.booleans(),
    multiple=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_as_many_different_available_rows_as_there_are(
    *, make: Callable[[], Acquisition], n: int, k: int, c: int, cold: bool, multiple: bool, seed: int
) -> None:
    check(make(), make_pool(n, c, cold=cold, multiple=multiple, seed=seed), k)


def test_nothing_available_gives_nothing(strategy: Acquisition) -> None:
    pool = make_pool(20)
    check(strategy, replace(pool, available=np.zeros(20, dtype=bool)), 5)
    check(strategy, make_pool(0), 5)


def test_a_pool_of_identical_rows_is_served_all_the_same(strategy: Acquisition) -> None:
    pool = make_pool(30)
    for k in (1, 5, 100):
        check(strategy, replace(pool, vectors=np.repeat(pool.vectors[:1], 30, axis=0)), k)


@pytest.mark.parametrize("n", [63, 64, 65, 66, 130])
def test_many_copies_of_one_text_are_all_served_if_they_are_wanted(strategy: Acquisition, n: int) -> None:
    pool = make_pool(n)
    check(strategy, replace(pool, vectors=np.repeat(pool.vectors[:1], n, axis=0)), 2 * n)


def test_a_selection_is_the_same_for_the_same_seed(strategy: Acquisition) -> None:
    for cold in (True, False):
        pool = make_pool(80, cold=cold)
        np.testing.assert_array_equal(strategy.select(pool, 10, 4).rows, strategy.select(pool, 10, 4).rows)


def test_a_returned_clustering_can_be_handed_in_again(strategy: Acquisition) -> None:
    pool = make_pool(80)
    first = strategy.select(pool, 10, 0)
    again = strategy.select(replace(pool, clustering=first.clustering), 10, 0)
    np.testing.assert_array_equal(first.rows, again.rows)


def test_half_precision_memory_mapped_vectors_do(strategy: Acquisition, tmp_path: Path) -> None:
    for cold in (True, False):
        pool = make_pool(80, cold=cold)
        np.save(tmp_path / "v.npy", pool.vectors.astype(np.float16))
        check(strategy, replace(pool, vectors=np.load(tmp_path / "v.npy", mmap_mode="r")), 10)


def test_the_pool_is_left_as_it_was(strategy: Acquisition) -> None:
    pool = make_pool(40)
    assert pool.probabilities is not None
    before = [a.copy() for a in (pool.vectors, pool.probabilities, pool.labelled, pool.available)]
    strategy.select(pool, 10, 0)
    for old, new in zip(before, (pool.vectors, pool.probabilities, pool.labelled, pool.available), strict=True):
        np.testing.assert_array_equal(old, new)
