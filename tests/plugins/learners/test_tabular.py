"""The learner of records chooses its kind by the annotators' labels; trees are scikit-learn's, as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from schemas import ONE_CHOICE
from sklearn.ensemble import HistGradientBoostingClassifier

from ml_backend.core.arrays import Attributions, DistillationData, Floats, PseudoLabels, TrainingSet
from plugins.learners.laat import FIELDS, Laat
from plugins.learners.logistic import Logistic
from plugins.learners.mlp import Mlp
from plugins.learners.tabular import KIND, KINDS, LABELS, MLP, TREES, Limits, Tabular, is_due
from plugins.learners.trees import BOOSTING_OPTIONS, Forest, Trees, boosted_forest


def rows(n: int, seed: int = 0, is_product: bool = False) -> TrainingSet:
    """Two labels, linearly separable, or by the sign of a product of two columns."""
    random = np.random.default_rng(seed)
    x = np.asarray(random.normal(size=(n, 6)).astype(np.float32) / 3, np.float32)
    score = 9 * x[:, 0] * x[:, 1] if is_product else 3 * x[:, 0] - 2 * x[:, 1]
    y = (score + 0.1 * random.normal(size=n) > 0).astype(int)
    return TrainingSet(x, np.eye(2, dtype=np.float32)[y], np.ones(n, np.float32), ONE_CHOICE)


def chosen(train: TrainingSet, limits: Limits | None = None) -> str:
    return list(KINDS)[int(Tabular(limits or Limits()).fit(train, 0).tensors[KIND][0])]


NEVER = (10**9, 0)


def distillation_data(train: TrainingSet, is_right: bool) -> DistillationData:
    """A pool with the labels of a teacher that is right, or labels at random."""
    random = np.random.default_rng(1)
    pool = rows(400, seed=5)
    targets = pool.targets if is_right else np.eye(2, dtype=np.float32)[random.integers(0, 2, 400)]
    nothing = PseudoLabels(pool.vectors[:0], pool.targets[:0], pool.weights[:0])
    attributions = Attributions(np.zeros((2, 1, 6), np.float32), np.ones(6, np.float32))
    return DistillationData(
        PseudoLabels(pool.vectors, targets, pool.weights), nothing, pool.vectors, ONE_CHOICE, attributions
    )


def test_trees_predict_what_scikit_learn_predicts() -> None:
    train, test = rows(400, is_product=True), rows(300, seed=1)
    classifier = HistGradientBoostingClassifier(**BOOSTING_OPTIONS).fit(train.vectors, train.targets[:, 1] > 0.5)
    forest = boosted_forest(train.vectors, train.targets, train.weights, multiple=False)
    expected = classifier.decision_function(test.vectors)
    np.testing.assert_allclose(forest.logits(test.vectors)[:, 0], expected, atol=1e-5)


def test_the_tensors_of_trees_are_enough_to_predict() -> None:
    train = rows(300, is_product=True)
    fit = Trees().fit(train, 0)
    assert {*Forest.__dataclass_fields__, "slope", "offset", "multiple"} == set(fit.tensors)
    assert all(np.asarray(array).dtype.kind in "fib" for array in fit.tensors.values())
    accuracy = (Trees().predict(fit.tensors, train.vectors).argmax(axis=1) == train.targets.argmax(axis=1)).mean()
    assert accuracy > 0.9


def test_trees_are_fitted_from_many_rows_on_and_win_where_labels_are_not_linearly_separable() -> None:
    limits = Limits(mlp=NEVER, trees=(300, 5))
    assert chosen(rows(299, is_product=True), limits) == FIELDS
    assert chosen(rows(400, is_product=True), limits) == TREES
    assert chosen(rows(400), limits) == FIELDS, "linearly separable"


def test_units_are_fitted_from_hundreds_of_rows_on_and_win_where_labels_are_not_linearly_separable() -> None:
    limits = Limits(mlp=(200, 5), trees=NEVER)
    assert chosen(rows(199, is_product=True), limits) == FIELDS
    assert chosen(rows(300, is_product=True), limits) == MLP
    assert chosen(rows(300), limits) == FIELDS, "linearly separable"


@pytest.mark.parametrize(("right", "kind"), [(True, LABELS), (False, FIELDS)])
def test_the_fit_starts_from_the_teachers_labels_if_the_annotators_labels_support_them(right: bool, kind: str) -> None:
    train = rows(24)
    priors = Tabular().distil(distillation_data(train, right), 0)
    assert {FIELDS, "labels"} <= priors.keys()
    fit = Tabular().fit(replace(train, priors=priors), 0)
    assert list(KINDS)[int(fit.tensors[KIND][0])] == kind
    assert "labels" in fit.prior_errors


def test_a_prior_that_helps_goes_first_if_the_fields_have_no_scores() -> None:
    limits = Limits(min_standard_errors=1e9)  # so that no kind replaces the first
    scored = Attributions(np.ones((2, 1, 6), np.float32) * np.array([[[-1]], [[1]]]), np.ones(6, np.float32))
    for attributions, kind in ((None, LABELS), (scored, FIELDS)):
        train = rows(24)
        data = distillation_data(train, is_right=True)
        priors = Tabular().distil(replace(data, attributions=attributions or data.attributions), 0)
        assert chosen(replace(train, priors=priors), limits) == kind


def test_where_laat_would_take_too_long_a_logistic_head_is_the_first() -> None:
    train = rows(300)
    fit = Tabular(Limits(max_laat_size=0)).fit(train, 0)
    assert list(KINDS)[int(fit.tensors[KIND][0])] == LABELS and fit.trust is None
    np.testing.assert_array_equal(fit.held_out, Logistic().fit(train, 0).held_out)
    limits = Limits(mlp=(200, 5), trees=NEVER, max_laat_size=0)
    assert chosen(rows(300, is_product=True), limits) == MLP, "units may be added to a logistic head, too"


def test_rows_outside_the_prior_selection_mask_do_not_choose_the_kind() -> None:
    limits = Limits(mlp=NEVER, trees=(300, 5))
    train = rows(400, is_product=True)
    assert chosen(replace(train, prior_selection_mask=np.zeros(400, np.bool_)), limits) == FIELDS


@pytest.mark.parametrize("kind", [FIELDS, LABELS])
def test_it_predicts_what_the_chosen_kind_predicts(kind: str) -> None:
    train = rows(24)
    with_priors = replace(train, priors=Tabular().distil(distillation_data(train, kind == LABELS), 0))
    fit = Tabular().fit(with_priors, 0)
    of_kind = {name: prior for name, prior in with_priors.priors.items() if (name == FIELDS) == (kind == FIELDS)}
    alone = (Laat() if kind == FIELDS else Logistic()).fit(replace(with_priors, priors=of_kind), 0)
    np.testing.assert_array_equal(fit.held_out, alone.held_out)
    vectors: Floats = rows(50, seed=9).vectors
    expected = (Laat() if kind == FIELDS else Logistic()).predict(alone.tensors, vectors)
    np.testing.assert_array_equal(Tabular().predict(fit.tensors, vectors), expected)


def test_trees_that_did_not_win_are_fitted_again_only_when_the_rows_have_grown() -> None:
    train, limits = rows(130), (100, 5)
    serving = Tabular(Limits(mlp=NEVER, trees=NEVER)).fit(rows(99), 0).tensors
    for n, earlier_rows, expected in ((99, 98, False), (101, 99, True), (102, 101, False), (115, 101, True)):
        earlier = np.where(np.arange(n)[:, None] < earlier_rows, train.targets[:n], np.nan).astype(np.float32)
        now = TrainingSet(
            train.vectors[:n],
            train.targets[:n],
            train.weights[:n],
            ONE_CHOICE,
            earlier,
            {**serving, KIND: np.array([0])},
        )
        assert is_due(now, TREES, limits) == expected, (n, earlier_rows)
        if n > 100:
            of_trees = {**serving, KIND: np.array([list(KINDS).index(TREES)])}
            assert is_due(replace(now, earlier_tensors=of_trees), TREES, limits), "trees that serve are always fitted"


def test_trees_take_equal_weights_as_none_and_unequal_ones_as_they_are() -> None:
    train = rows(200, is_product=True)
    plain, doubled = (boosted_forest(train.vectors, train.targets, factor * train.weights, False) for factor in (1, 2))
    np.testing.assert_array_equal(plain.threshold, doubled.threshold)
    half = np.where(np.arange(200) < 100, train.weights, 0)
    weighted = boosted_forest(train.vectors, train.targets, half, False).logits(train.vectors)
    subset = boosted_forest(train.vectors[:100], train.targets[:100], train.weights[:100], False).logits(train.vectors)
    np.testing.assert_allclose(weighted, subset, atol=1e-6)


def test_earlier_targets_that_are_nearly_the_same_get_the_present_probabilities() -> None:
    train = rows(200, is_product=True)
    for plugin in (Trees(), Mlp()):
        for earlier_rows, is_same in ((195, True), (150, False)):
            earlier = np.where(np.arange(200)[:, None] < earlier_rows, train.targets, np.nan).astype(np.float32)
            fit = plugin.fit(replace(train, earlier=earlier), 0)
            assert fit.held_out_earlier is not None
            assert np.array_equal(fit.held_out, fit.held_out_earlier) == is_same
