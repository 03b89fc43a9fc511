"""The contract, for every installed strategy and for one of a third party, and strategies that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from contract import AcquisitionContract

from ml_backend.core import registry
from ml_backend.core.arrays import InclusiveBy, Pool, Selection
from ml_backend.core.ports import Acquisition
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.model.combined_predictions import CombinedPredictions
from plugins.acquisition.deduplication import available_rows, take_in_turns
from plugins.acquisition.random import Random

CONTROL = "random"


class TestInstalled(AcquisitionContract):
    @pytest.fixture(params=sorted(set(registry.installed("acquisition")) - {CONTROL}))
    def strategy(self, request: pytest.FixtureRequest) -> Acquisition:
        return registry.acquisition(request.param)


class TestRandom(AcquisitionContract):
    control_sample = True

    @pytest.fixture
    def strategy(self) -> Acquisition:
        return registry.acquisition(CONTROL)


class OnTwoControls:
    """Gives a strategy a pool whose learner predicts the labels of another control, too."""

    def __init__(self, strategy: Acquisition) -> None:
        self._strategy = strategy

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        if pool.predictions is not None:
            shares = np.random.default_rng(0).random((len(pool.predictions), 4), dtype=np.float32)
            other = ChoicePredictions(shares, multiple=True)
            weights = np.array([1.0, 0.5], np.float32)
            pool = replace(pool, predictions=CombinedPredictions([pool.predictions, other], weights))
        return self._strategy.select(pool, k, seed)


class TestInstalledOnTwoControls(AcquisitionContract):
    @pytest.fixture(params=sorted(set(registry.installed("acquisition")) - {CONTROL}))
    def strategy(self, request: pytest.FixtureRequest) -> Acquisition:
        return OnTwoControls(registry.acquisition(request.param))


class TestRandomOnTwoControls(AcquisitionContract):
    control_sample = True

    @pytest.fixture
    def strategy(self) -> Acquisition:
        return OnTwoControls(registry.acquisition(CONTROL))


class OnJudgedDrafts:
    """Gives `inclusive` a pool whose drafts an attribute model has judged."""

    def __init__(self, by: InclusiveBy) -> None:
        self._by = by

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        failures = np.random.default_rng(1).random(len(pool.vectors), np.float32).round(1)
        pool = replace(pool, draft_failures=failures, inclusive_by=self._by)
        return registry.acquisition("inclusive").select(pool, k, seed)


class TestInclusiveOnJudgedDrafts(AcquisitionContract):
    @pytest.fixture(params=get_args(InclusiveBy))
    def strategy(self, request: pytest.FixtureRequest) -> Acquisition:
        return OnJudgedDrafts(request.param)


class Newest:
    """A third party's strategy: the latest imported tasks come first."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = take_in_turns(pool, [available_rows(pool)[::-1]], k)
        return Selection(rows, pool.uncertainty("margin", rows), "new")


class TestAStrangers(AcquisitionContract):
    @pytest.fixture
    def strategy(self) -> Acquisition:
        return Newest()


def test_no_installed_strategy_is_forgotten() -> None:
    names = (
        "badge cluster-uncertainty coverage d-calm entropy inclusive k-center least-confidence margin near-and-far "
        "random rep-clun typicality"
    )
    assert set(names.split()) <= set(registry.installed("acquisition"))


class Broken:
    """Random, and then something goes wrong."""

    def __init__(self, wrong: Callable[[Pool, Selection, int], Selection]) -> None:
        self._wrong, self._calls = wrong, 0

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        self._calls += 1
        return self._wrong(pool, Random().select(pool, k, seed), self._calls)


def _twice(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(np.repeat(selection.rows[:1], len(selection.rows)), selection.uncertainty)


def _too_few(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(selection.rows[:-1], selection.uncertainty[:-1])


def _as_int32(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(selection.rows.astype(np.int32), selection.uncertainty)


def _labelled(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(np.flatnonzero(pool.labelled)[: len(selection.rows)], selection.uncertainty)


def _too_sure(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(selection.rows, np.nan_to_num(selection.uncertainty))


def _unsure(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(selection.rows, np.full_like(selection.uncertainty, np.nan))


def _changing(pool: Pool, selection: Selection, calls: int) -> Selection:
    return Selection(np.roll(selection.rows, calls), selection.uncertainty)


def _writing(pool: Pool, selection: Selection, calls: int) -> Selection:
    pool.available[selection.rows] = False
    return selection


def _seeding(pool: Pool, selection: Selection, calls: int) -> Selection:
    np.random.seed(0)
    return selection


def _as_it_is(pool: Pool, selection: Selection, calls: int) -> Selection:
    return selection


@pytest.mark.parametrize(
    ("wrong", "test_name", "values"),
    [
        (_twice, "test_serves_as_many_different_available_rows_as_there_are", {}),
        (_twice, "test_serves_every_awkward_pool", {}),
        (_too_few, "test_serves_every_awkward_pool", {}),
        (_as_int32, "test_serves_every_awkward_pool", {}),
        (_labelled, "test_serves_every_awkward_pool", {}),
        (_too_sure, "test_serves_every_awkward_pool", {}),
        (_unsure, "test_serves_every_awkward_pool", {}),
        (_changing, "test_is_the_same_for_the_same_seed", {}),
        (_seeding, "test_leaves_the_random_numbers_of_others_alone", {}),
        (_writing, "test_leaves_the_pool_as_it_was", {}),
        (_too_few, "test_serves_all_the_copies_of_a_text_if_they_are_wanted", {"copies": 66}),
        (_as_it_is, "test_does_not_fill_a_batch_with_one_text_while_others_are_left", {"kind": "warm"}),
    ],
)
def test_the_contract_fails_for_broken_strategies(wrong: Any, test_name: str, values: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        getattr(AcquisitionContract(), test_name)(strategy=Broken(wrong), **values)


class Trusting:
    """Checks nothing."""

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = np.flatnonzero(np.ones(5, dtype=bool))
        return Selection(rows, np.zeros(5, dtype=np.float32))


@pytest.mark.parametrize(
    ("test_name", "values"),
    [
        ("test_says_which_prediction_is_not_finite", {"bad": np.nan}),
        ("test_says_which_array_does_not_fit_the_others", {"name": "errors", "longer": True}),
        ("test_says_which_row_is_in_no_cluster", {"cluster": -1}),
    ],
)
def test_the_contract_fails_for_a_strategy_without_checks(test_name: str, values: dict[str, Any]) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        getattr(AcquisitionContract(), test_name)(strategy=Trusting(), **values)
