"""Selection of tasks: that of the query strategy, with places reserved for the groups with the highest errors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_overrides import OverridePlugins
from pools import choices_of, clustered, make_pool, unit_vectors
from schemas import by_control, fitted_choices, text_schema

from ml_backend.core import registry
from ml_backend.core.arrays import ERROR_PRIOR_ROWS, Ints, Pool, Selection
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.loop.query_selection import select_queries
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.pool_predictions import with_predictions

LABELS = ("fruit", "metal", "animal")
STRATEGIES = sorted(registry.installed("acquisition"))


class InOrder:
    """Selects the first free rows of the pool, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Pool, int, int]] = []

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        self.calls.append((pool, k, seed))
        rows = np.flatnonzero(pool.available & ~pool.labelled)[: max(k, 0)]
        return Selection(rows, (rows / 1000).astype(np.float32), "in order")


@pytest.fixture
def in_order(override_plugins: OverridePlugins) -> InOrder:
    strategy = InOrder()
    override_plugins({"acquisition.margin": lambda: strategy})
    return strategy


def options(balance: float, acquisition: str = "margin") -> ProjectSettings:
    return ProjectSettings(balance=balance, acquisition=acquisition)


def pool_with_a_weak_group(n: int = 120, share: float = 0.25, labelled: float = 0.3) -> tuple[Pool, Ints]:
    """Four groups; the learner errs in group 3, whose rows are at the end of the pool."""
    pool = make_pool(n, labelled=labelled, free=1.0)
    group = np.minimum(np.arange(n) // int(n * (1 - share) / 3), 3)
    wrong = np.where(pool.labelled, np.where(group == 3, 0.8, 0.1), np.nan).astype(np.float32)
    return replace(pool, errors=wrong), group


def weak_by_hand(pool: Pool, groups: Ints) -> set[int]:
    """The groups whose error is clearly above that of all labels."""
    assert pool.errors is not None
    errors = {row: float(error) for row, error in enumerate(pool.errors) if not math.isnan(error)}
    if not errors:
        return set()
    overall = sum(errors.values()) / len(errors)
    weak = set()
    for group in set(groups.tolist()):
        group_errors = [error for row, error in errors.items() if groups[row] == group]
        if (sum(group_errors) + ERROR_PRIOR_ROWS * overall) / (len(group_errors) + ERROR_PRIOR_ROWS) > overall + 1e-6:
            weak.add(group)
    return weak


def model_of(tasks: list[int], multiple: bool = False) -> FittedModel:
    """A model of these tasks that predicts the largest coordinate; its held-out probabilities are 0.5, 0.3 and 0.2."""
    n = len(tasks)
    targets = np.eye(3, dtype=np.float32)[np.arange(n) % 3]
    control = fitted_choices(LABELS, multiple=multiple)
    snapshot = TrainingSnapshot("logistic", "fake", control, np.array(tasks), b"", targets)
    tensors = {
        "weight": np.eye(3, dtype=np.float32) * 8,
        "bias": np.zeros(3, np.float32),
        "temperature": np.ones(1, np.float32),
        "multiple": np.array([multiple]),
    }
    return FittedModel(1, snapshot, tensors, np.tile(np.array([0.5, 0.3, 0.2], np.float32), (n, 1)))


def schema(*labels: str, multiple: bool = False) -> ProjectSchema:
    return text_schema(labels, multiple=multiple)


def test_before_a_learner_the_strategy_gets_no_predictions() -> None:
    source = make_pool(6, clusters=2, cold=True)
    assert source.predictions is None and source.errors is None
    assert with_predictions(source, {}, schema(*LABELS).controls, ProjectSettings(), np.arange(6)) is source


@pytest.mark.parametrize("multiple", [False, True])
def test_the_strategy_gets_the_learners_predictions_and_errors(multiple: bool) -> None:
    tasks = np.array([2, 3, 5, 8, 13])
    vectors = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    done = np.isin(tasks, [3, 8])
    source = Pool(vectors, None, done, ~done)
    pool = with_predictions(
        source,
        by_control(model_of([3, 7, 8], multiple)),
        schema(*LABELS, multiple=multiple).controls,
        ProjectSettings(),
        tasks,
    )
    assert pool.vectors is vectors and pool.labelled is done and choices_of(pool).multiple == multiple
    assert choices_of(pool).probabilities.argmax(axis=1).tolist() == [0, 1, 2, 0, 1]
    # the held-out probability of wrong labels is 0.5 for task 3 with the first label, 0.8 for task 8 with the third
    wrong = {3: 0.5, 8: 0.8} if not multiple else {3: (0.5 + 0.3 + 0.2) / 3, 8: (0.5 + 0.3 + 0.8) / 3}
    assert pool.errors is not None
    np.testing.assert_allclose(pool.errors, [wrong.get(task, math.nan) for task in tasks.tolist()], rtol=1e-5)


def test_probabilities_come_in_the_columns_of_the_schema() -> None:
    vectors = np.eye(3, dtype=np.float32)
    done = np.zeros(3, bool)
    new = schema("stone", "animal", "fruit", "metal")
    pool = with_predictions(
        Pool(vectors, None, done, ~done),
        by_control(model_of([1, 2, 3])),
        new.controls,
        ProjectSettings(),
        np.array([1, 2, 3]),
    )
    assert choices_of(pool).probabilities.argmax(axis=1).tolist() == [2, 3, 1]


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_balance_the_selection_is_that_of_the_strategy(name: str) -> None:
    pool, group = pool_with_a_weak_group()
    pool = clustered(pool, group, 4)
    expected = registry.acquisition(name).select(pool, 15, 3)
    for groups in (None, group):
        chosen = select_queries(options(0.0, name), pool, groups, 15, 3)
        np.testing.assert_array_equal(chosen.rows, expected.rows)
        np.testing.assert_array_equal(chosen.uncertainty, expected.uncertainty)
        assert chosen.ground == expected.ground


@pytest.mark.parametrize("balance", [0.1, 0.25, 0.5, 1.0])
def test_the_share_balance_of_the_rows_comes_from_the_weak_group(in_order: InOrder, balance: float) -> None:
    pool, group = pool_with_a_weak_group()
    chosen = select_queries(options(balance), pool, group, 20, 0)
    assert (group[chosen.rows] == 3).sum() == round(balance * 20)
    assert (group[select_queries(options(0.0), pool, group, 20, 0).rows] == 3).sum() == 0
    assert chosen.ground == "in order"


def test_a_share_of_less_than_half_a_row_reserves_none(in_order: InOrder) -> None:
    pool, group = pool_with_a_weak_group()
    assert (
        select_queries(options(0.04), pool, group, 10, 0).rows.tolist() == InOrder().select(pool, 10, 0).rows.tolist()
    )


@given(
    n=st.integers(1, 60),
    k=st.integers(-1, 70),
    groups=st.integers(1, 5),
    balance=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 999),
    named=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_with_any_groups_no_row_is_selected_twice_and_none_is_missing(
    in_order: InOrder, n: int, k: int, groups: int, balance: float, seed: int, named: bool
) -> None:
    in_order.calls.clear()
    generator = np.random.default_rng(seed)
    pool = make_pool(n, errors=True, labelled=0.4, seed=seed)
    group_of = generator.integers(0, groups, n)
    shown = pool if named else clustered(pool, group_of, groups)
    chosen = select_queries(options(balance), shown, group_of if named else None, k, seed)
    rows = chosen.rows.tolist()
    assert len(rows) == len(set(rows)) == min(max(k, 0), int(pool.available.sum()))
    assert pool.available[rows].all()
    np.testing.assert_allclose(chosen.uncertainty, chosen.rows / 1000, rtol=1e-6)  # each row keeps its uncertainty
    weak = weak_by_hand(pool, group_of)
    free_and_weak = [row for row in np.flatnonzero(pool.available).tolist() if group_of[row] in weak]
    reserved = min(round(balance * max(k, 0)), len(free_and_weak))
    assert sum(group_of[row] in weak for row in rows) >= reserved
    if len(in_order.calls) == 2 and weak:
        # the strategy ranks the reserved places and the other places separately
        first = free_and_weak[:reserved]
        rest = [row for row in np.flatnonzero(pool.available).tolist() if row not in first][: max(k, 0) - reserved]
        assert [row for row in rows if row in first] == first
        assert [row for row in rows if row not in first] == rest


def test_if_there_are_too_few_weak_rows_other_rows_are_selected(in_order: InOrder) -> None:
    pool, group = pool_with_a_weak_group()
    free = pool.available & ((group != 3) | (np.cumsum(group == 3) > 27))
    n_weak = int((free & (group == 3)).sum())
    assert 0 < n_weak < 10
    chosen = select_queries(options(0.5), replace(pool, available=free), group, 20, 0)
    assert len(set(chosen.rows.tolist())) == 20
    assert (group[chosen.rows] == 3).sum() == n_weak
    none = select_queries(options(0.5), replace(pool, available=pool.available & (group != 3)), group, 20, 0)
    assert none.rows.tolist() == np.flatnonzero(pool.available & (group != 3))[:20].tolist()


def test_the_reserved_places_are_spread_over_the_queue(in_order: InOrder) -> None:
    pool, group = pool_with_a_weak_group(400)
    seeds, k, reserved = 300, 40, 10
    weak_counts = np.zeros(k)
    for seed in range(seeds):
        weak_counts += group[select_queries(options(reserved / k), pool, group, k, seed).rows] == 3
    mean, deviation = seeds * reserved / k, math.sqrt(seeds * reserved / k * (1 - reserved / k))
    assert weak_counts.sum() == seeds * reserved
    assert (np.abs(weak_counts - mean) < 4.5 * deviation).all(), "every place is as likely as another"


def test_the_second_part_counts_the_first_part_as_labelled(in_order: InOrder) -> None:
    pool, group = pool_with_a_weak_group()
    before = [array.copy() for array in (pool.available, pool.labelled)]
    select_queries(options(0.25), pool, group, 20, 7)
    (first, reserved, seed), (second, others, again) = in_order.calls
    assert (reserved, others, seed, again) == (5, 15, 7, 7)
    assert not first.available[group != 3].any()
    taken = np.flatnonzero(first.available)[:5]
    np.testing.assert_array_equal(np.flatnonzero(second.labelled & ~pool.labelled), taken)
    assert not second.available[taken].any()
    for array, old in zip((pool.available, pool.labelled), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_a_text_of_the_first_part_is_not_served_again_in_the_second() -> None:
    pool, group = pool_with_a_weak_group()
    generator = np.random.default_rng(0)
    text = np.arange(120)
    text[group < 3] = text[np.flatnonzero(group == 3)][generator.integers(0, 30, int((group < 3).sum()))]
    pool = replace(pool, vectors=unit_vectors(120, generator)[text], labelled=np.zeros(120, bool))
    for name in sorted(set(STRATEGIES) - {"random"}):
        rows = select_queries(options(0.5, name), pool, group, 16, 0).rows
        assert len(set(text[rows].tolist())) == 16, name


def test_the_groups_of_a_field_take_precedence_over_the_clusters(in_order: InOrder) -> None:
    pool, group = pool_with_a_weak_group()
    mixed = clustered(pool, np.arange(120) % 4, 4)
    chosen = select_queries(options(0.5), mixed, group, 20, 0)
    assert (group[chosen.rows] == 3).sum() == 10
    by_clusters = select_queries(options(0.5), clustered(pool, group, 4), None, 20, 0)
    np.testing.assert_array_equal(by_clusters.rows, chosen.rows)


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_known_errors_balance_changes_nothing(name: str) -> None:
    group = np.arange(60) % 4
    unlabelled = replace(make_pool(60, labelled=0.0), errors=np.full(60, np.nan, np.float32))
    for pool in (make_pool(60, cold=True), make_pool(60), unlabelled):
        expected = registry.acquisition(name).select(pool, 12, 1)
        np.testing.assert_array_equal(select_queries(options(1.0, name), pool, group, 12, 1).rows, expected.rows)
    ungrouped = make_pool(60, errors=True)
    expected = registry.acquisition(name).select(ungrouped, 12, 1)
    np.testing.assert_array_equal(select_queries(options(1.0, name), ungrouped, None, 12, 1).rows, expected.rows)


def test_a_group_without_labels_is_not_weak(in_order: InOrder) -> None:
    pool, group = pool_with_a_weak_group()
    assert pool.errors is not None
    unknown = replace(pool, labelled=pool.labelled & (group != 0), errors=np.where(group == 0, np.nan, pool.errors))
    free = replace(
        unknown, available=~unknown.labelled & (group % 3 == 0)
    )  # rows of the unknown and of the weak group alone
    rows = select_queries(options(0.5), free, group, 8, 0).rows
    assert sorted(group[rows].tolist()) == [0, 0, 0, 0, 3, 3, 3, 3]


def test_a_single_error_weighs_less_than_many(in_order: InOrder) -> None:
    """The mean error of the group is shrunk towards the mean of all rows, but it stays above."""
    pool, group = pool_with_a_weak_group(labelled=0.0)
    wrong = np.full(120, np.nan, np.float32)
    wrong[:20] = 0.2
    wrong[119] = 0.9
    done = ~np.isnan(wrong)
    chosen = select_queries(options(1.0), replace(pool, errors=wrong, labelled=done, available=~done), group, 10, 0)
    assert set(group[chosen.rows].tolist()) == {3}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_balanced(name: str) -> None:
    pool, group = pool_with_a_weak_group()
    for seed in range(3):
        chosen = select_queries(options(0.5, name), clustered(pool, group, 4), None, 20, seed)
        rows = chosen.rows
        assert rows.dtype == np.int64 and chosen.uncertainty.dtype == np.float32
        assert len(set(rows.tolist())) == 20 and pool.available[rows].all()
        assert (group[rows] == 3).sum() >= 10
        np.testing.assert_array_equal(
            select_queries(options(0.5, name), clustered(pool, group, 4), None, 20, seed).rows, rows
        )


def test_with_equal_errors_in_all_groups_balance_changes_nothing(in_order: InOrder) -> None:
    for seed in range(20):
        pool = make_pool(60, errors=True, seed=seed)
        assert pool.errors is not None
        alike = replace(pool, errors=np.where(np.isnan(pool.errors), np.nan, 0.3).astype(np.float32))
        for shown, groups in ((pool, np.zeros(60, np.int64)), (alike, np.arange(60) % 4)):
            expected = InOrder().select(shown, 12, seed).rows.tolist()
            assert select_queries(options(0.5), shown, groups, 12, seed).rows.tolist() == expected
