"""The contract of every query strategy, to be run on any strategy, including your own.

    from contract import AcquisitionContract

    class TestMine(AcquisitionContract):
        @pytest.fixture
        def strategy(self) -> Acquisition:
            return Mine()

Needs this file and `pools.py` beside it, and pytest's `register_assert_rewrite("contract")` for the best messages.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pools import choices_of, clustered, make_pool, unit_vectors

from ml_backend.core.arrays import Clustering, Pool, Selection
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Acquisition
from ml_backend.kinds.choices.predictions import ChoicePredictions


def check(strategy: Acquisition, pool: Pool, k: int, seed: int = 0) -> Selection:
    """Returns the selection after checking it: as many different available rows as possible, each with an
    uncertainty."""
    selection = strategy.select(pool, k, seed)
    assert selection.rows.dtype == np.int64 and selection.uncertainty.dtype == np.float32
    n = min(max(k, 0), int((pool.available & ~pool.labelled).sum()))
    assert selection.rows.shape == selection.uncertainty.shape == (n,)
    assert len(set(selection.rows.tolist())) == len(selection.rows), "a row was chosen twice"
    assert pool.available[selection.rows].all(), "a row was chosen that is not available"
    assert not pool.labelled[selection.rows].any(), "a row was chosen that has a label"
    if pool.predictions is None:
        assert np.isnan(selection.uncertainty).all(), "without a learner there is no uncertainty"
    else:
        assert ((selection.uncertainty >= 0) & (selection.uncertainty <= 1)).all()
    assert isinstance(selection.ground, str)
    return selection


def read_only(pool: Pool) -> Pool:
    """Returns a copy of the pool whose arrays are read-only: writing to them raises a ValueError."""
    copied = copy.deepcopy(pool)
    for array in arrays(copied).values():
        array.setflags(write=False)
    return copied


def arrays(pool: Pool) -> dict[str, npt.NDArray[Any]]:
    by_name: dict[str, npt.NDArray[Any] | None] = {
        "vectors": pool.vectors,
        "probabilities": None if pool.predictions is None else choices_of(pool).probabilities,
        "labelled": pool.labelled,
        "available": pool.available,
        "errors": pool.errors,
        "centroids": None if pool.clustering is None else pool.clustering.centroids,
        "clustering": None if pool.clustering is None else pool.clustering.assignment,
    }
    return {name: array for name, array in by_name.items() if array is not None}


def with_probabilities(pool: Pool, row: list[float]) -> Pool:
    shares = np.tile(np.array(row, np.float32), (len(pool.vectors), 1))
    return replace(pool, predictions=ChoicePredictions(shares, choices_of(pool).multiple))


def with_available(pool: Pool, n: int) -> Pool:
    """Makes the first n rows available, and all others labelled."""
    first = np.arange(len(pool.vectors)) < n
    return replace(pool, available=first, labelled=~first)


def all_the_same(pool: Pool) -> Pool:
    return replace(pool, vectors=np.repeat(pool.vectors[:1], len(pool.vectors), axis=0))


AWKWARD: dict[str, Callable[[], Pool]] = {
    "cold start": lambda: make_pool(30, cold=True),
    "cold start with clusters": lambda: make_pool(30, cold=True, clusters=4),
    "labels but no learner yet": lambda: replace(make_pool(30), predictions=None),
    "errors": lambda: make_pool(30, errors=True),
    "errors and clusters": lambda: make_pool(30, errors=True, clusters=4),
    "errors of no row": lambda: replace(make_pool(30, clusters=4), errors=np.full(30, np.nan, np.float32)),
    "no errors at all": lambda: replace(make_pool(30, clusters=4), errors=np.zeros(30, np.float32)),
    "one cluster": lambda: make_pool(30, errors=True, clusters=1),
    "more clusters than rows": lambda: make_pool(30, errors=True, clusters=50),
    "one label to choose from": lambda: with_probabilities(make_pool(30), [1.0]),
    "one label that may be chosen or not": lambda: make_pool(30, 1, multiple=True),
    "one class only": lambda: with_probabilities(make_pool(30, clusters=3), [1.0, 0.0, 0.0]),
    "nothing known": lambda: with_probabilities(make_pool(30), [1 / 3] * 3),
    "several choices": lambda: make_pool(30, 5, multiple=True, clusters=3, errors=True),
    "several choices, all of them surely wrong": lambda: with_probabilities(make_pool(30, multiple=True), [0.0] * 3),
    "several choices, nothing known": lambda: with_probabilities(make_pool(30, multiple=True), [0.5] * 3),
    "rounded a little beyond one": lambda: with_probabilities(make_pool(30), [1.0000001, -1e-7, 0.0]),
    "several choices, rounded beyond one": lambda: with_probabilities(make_pool(30, multiple=True), [1.0000001, -1e-7]),
    "skewed classes": lambda: skewed(make_pool(40, errors=True, clusters=3)),
    "one label": lambda: replace(make_pool(30), labelled=np.arange(30) == 3, available=np.arange(30) != 3),
    "all labelled but one": lambda: with_available(make_pool(30, clusters=3), 1),
    "all labelled but two": lambda: with_available(make_pool(30), 2),
    "all labelled": lambda: with_available(make_pool(30, errors=True, clusters=3), 0),
    "nothing available": lambda: replace(make_pool(30), available=np.zeros(30, dtype=bool)),
    "nothing available in a cold start": lambda: replace(make_pool(30, cold=True), available=np.zeros(30, dtype=bool)),
    "labelled and called available": lambda: replace(make_pool(30), available=np.ones(30, dtype=bool)),
    "no rows": lambda: make_pool(0),
    "no rows in a cold start": lambda: make_pool(0, cold=True),
    "one row": lambda: with_available(make_pool(1), 1),
    "one row in a cold start": lambda: make_pool(1, cold=True, free=1.0),
    "one text only": lambda: all_the_same(make_pool(30)),
    "one text only in a cold start": lambda: all_the_same(make_pool(30, cold=True, clusters=2)),
    "two texts only": lambda: replace(make_pool(30), vectors=np.eye(2, 12, dtype=np.float32)[np.arange(30) % 2]),
    "a dimension of one": lambda: replace(make_pool(30), vectors=np.sign(make_pool(30).vectors[:, :1])),
    "texts without a direction": lambda: replace(make_pool(30, clusters=3), vectors=np.zeros((30, 12), np.float32)),
}


def skewed(pool: Pool) -> Pool:
    """Gives all but two rows a nearly certain class."""
    shares = np.tile(np.array([0.998, 0.001, 0.001], np.float32), (len(pool.vectors), 1))
    shares[:2] = [0.2, 0.5, 0.3]
    return replace(pool, predictions=ChoicePredictions(shares, multiple=False))


class AcquisitionContract:
    """Subclass it with a fixture `strategy`. Each test checks one rule."""

    control_sample = False
    """Set it for a strategy that draws a sample of the pool as it is, including repetitions of a text."""

    @pytest.fixture
    def strategy(self) -> Acquisition:
        raise NotImplementedError("Subclass the contract with a fixture `strategy`.")

    @given(
        n=st.integers(0, 40),
        k=st.integers(-2, 50),
        c=st.integers(1, 4),
        cold=st.booleans(),
        multiple=st.booleans(),
        clusters=st.integers(0, 5),
        errors=st.booleans(),
        seed=st.integers(0, 99),
    )
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_serves_as_many_different_available_rows_as_there_are(
        self,
        *,
        strategy: Acquisition,
        n: int,
        k: int,
        c: int,
        cold: bool,
        multiple: bool,
        clusters: int,
        errors: bool,
        seed: int,
    ) -> None:
        pool = make_pool(n, c, cold=cold, multiple=multiple, clusters=clusters, errors=errors, seed=seed)
        check(strategy, pool, k, seed)

    def test_serves_every_awkward_pool(self, strategy: Acquisition) -> None:
        for name, pool in AWKWARD.items():
            for k in (7, 10**9):
                try:
                    check(strategy, pool(), k)
                except Exception as error:
                    error.add_note(f"{k} rows of the pool: {name}")
                    raise

    def test_returns_no_rows_if_none_are_wanted(self, strategy: Acquisition) -> None:
        for k in (0, -1, -1000):
            for pool in (make_pool(30), make_pool(30, cold=True), make_pool(30, clusters=3, errors=True), make_pool(0)):
                check(strategy, pool, k)

    def test_is_the_same_for_the_same_seed(self, strategy: Acquisition) -> None:
        for pool in (make_pool(60), make_pool(60, cold=True), make_pool(60, clusters=4, errors=True)):
            first = strategy.select(pool, 10, 4)
            for again in (strategy.select(pool, 10, 4), strategy.select(copy.deepcopy(pool), 10, 4)):
                np.testing.assert_array_equal(first.rows, again.rows)
                np.testing.assert_array_equal(first.uncertainty, again.uncertainty)

    def test_leaves_the_random_numbers_of_others_alone(self, strategy: Acquisition) -> None:
        before = np.random.get_state(legacy=False)
        strategy.select(make_pool(60), 10, 4)
        after = np.random.get_state(legacy=False)
        np.testing.assert_equal(before, after)

    def test_leaves_the_pool_as_it_was(self, strategy: Acquisition) -> None:
        for pool in (
            make_pool(40, clusters=3, errors=True),
            make_pool(40, multiple=True, clusters=3, errors=True),
            make_pool(40, cold=True, clusters=3),
            make_pool(40),
        ):
            before = {name: array.copy() for name, array in arrays(pool).items()}
            expected = strategy.select(pool, 10, 0)
            for name, array in arrays(pool).items():
                np.testing.assert_array_equal(array, before[name], err_msg=f"{name} changed")
            # and read-only arrays give the same selection
            np.testing.assert_array_equal(strategy.select(read_only(pool), 10, 0).rows, expected.rows)

    @pytest.mark.parametrize("cold", [True, False])
    def test_takes_vectors_of_half_precision_from_a_file(
        self, strategy: Acquisition, cold: bool, tmp_path: Path
    ) -> None:
        pool = make_pool(60, cold=cold, clusters=3, errors=True)
        np.save(tmp_path / "v.npy", pool.vectors.astype(np.float16))
        mapped = replace(pool, vectors=np.load(tmp_path / "v.npy", mmap_mode="r", allow_pickle=False))
        first = check(strategy, mapped, 10)
        np.testing.assert_array_equal(first.rows, check(strategy, mapped, 10).rows)

    @pytest.mark.parametrize("copies", [64, 66, 130])
    def test_serves_all_the_copies_of_a_text_if_they_are_wanted(self, strategy: Acquisition, copies: int) -> None:
        pool = all_the_same(make_pool(copies, free=1.0))
        check(strategy, pool, copies)
        mixed = make_pool(copies + 20, free=1.0)
        mixed.vectors[:copies] = mixed.vectors[0]
        check(strategy, mixed, 1000)

    @pytest.mark.parametrize("kind", ["cold", "warm", "certain", "clusters", "errors", "several choices"])
    def test_does_not_fill_a_batch_with_one_text_while_others_are_left(self, strategy: Acquisition, kind: str) -> None:
        """Three hundred copies of a text, as uncertain as can be, a labelled text's five copies, and eight others."""
        for seed, noise in enumerate((0.0, 0.004)):  # in the same words, and in nearly the same
            pool = make_pool(320, cold=kind == "cold", multiple=kind == "several choices", seed=seed)
            generator = np.random.default_rng(seed)
            text = generator.permutation(np.repeat([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [300, 6, *[1] * 8])[:314])
            vectors = unit_vectors(10, generator)[text]
            vectors = vectors + noise * unit_vectors(len(text), generator) * (text < 2)[:, None]
            vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
            labelled = np.arange(len(text)) == np.flatnonzero(text == 1)[0]
            predictions = None
            if pool.predictions is not None:
                predictions = choices_of(pool).take(np.arange(len(text)))
                predictions.probabilities[text < 2] = 0.5 if predictions.multiple else 1 / 3
                if kind == "certain":
                    predictions.probabilities[:] = [1.0, 0.0, 0.0]
            pool = Pool(vectors, predictions, labelled, ~labelled)
            if kind in ("clusters", "errors"):
                pool = clustered(pool, text // 3, 4)
            if kind == "errors":
                pool = replace(pool, errors=np.where(labelled, 0.9, np.nan).astype(np.float32))
            rows = check(strategy, pool, 9).rows
            if self.control_sample:
                assert (text[rows] == 0).sum() > 4, "a control sample has a text as often as the pool does"
                continue
            assert sorted(text[rows].tolist()) == [0, 2, 3, 4, 5, 6, 7, 8, 9], "each text but the labelled one, once"
            rows = check(strategy, pool, 20).rows
            assert sorted(text[rows[:9]].tolist()) == [0, 2, 3, 4, 5, 6, 7, 8, 9], "repetitions come last"

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_says_which_prediction_is_not_finite(self, strategy: Acquisition, bad: float) -> None:
        for pool in (make_pool(30, clusters=3, errors=True), make_pool(30, multiple=True)):
            choices_of(pool).probabilities[17, 1] = bad
            with pytest.raises(ApprenticeError, match=r"17\b.*predictions"):
                strategy.select(pool, 5, 0)

    @pytest.mark.parametrize("name", ["predictions", "labelled", "available", "errors", "clustering"])
    @pytest.mark.parametrize("longer", [True, False])
    def test_says_which_array_does_not_fit_the_others(self, strategy: Acquisition, name: str, longer: bool) -> None:
        pool = make_pool(30, clusters=3, errors=True)
        rows = np.append(np.arange(30), 0) if longer else np.arange(29)
        values: Any = getattr(pool, name)
        wrong = values.take(rows)
        with pytest.raises(ApprenticeError, match=name):
            strategy.select(replace(pool, **{name: wrong}), 5, 0)

    @pytest.mark.parametrize("cluster", [-1, 3])
    def test_says_which_row_is_in_no_cluster(self, strategy: Acquisition, cluster: int) -> None:
        pool = make_pool(30, clusters=3, errors=True)
        assert pool.clustering is not None
        assignment = pool.clustering.assignment.copy()
        assignment[17] = cluster
        with pytest.raises(ApprenticeError, match=r"17\b.*cluster"):
            strategy.select(replace(pool, clustering=Clustering(pool.clustering.centroids, assignment)), 5, 0)
