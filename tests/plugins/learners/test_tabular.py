"""The learner of records chooses its kind by the annotators' answers; trees are scikit-learn's, in arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from ml_backend.core.types import Attributions, DistillationData, Floats, PseudoLabels, TrainingSet
from plugins.learners import tabular
from plugins.learners.laat import FIELDS, Laat
from plugins.learners.logistic import Logistic
from plugins.learners.mlp import Mlp
from plugins.learners.tabular import KIND, KINDS, LABELS, MLP, TREES, Tabular
from plugins.learners.trees import GROWN, Forest, Trees, _forest


def rows(n: int, seed: int = 0, bent: bool = False) -> TrainingSet:
    """Two labels by a line, or by a product of two columns that no line tells apart."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 6)).astype(np.float32) / 3
    score = 9 * x[:, 0] * x[:, 1] if bent else 3 * x[:, 0] - 2 * x[:, 1]
    y = (score + 0.1 * random.normal(size=n) > 0).astype(int)
    return TrainingSet(x, np.eye(2, dtype=np.float32)[y], np.ones(n, np.float32), False)


def chosen(train: TrainingSet) -> str:
    return list(KINDS)[int(Tabular().fit(train, 0).tensors[KIND][0])]


def only(monkeypatch: pytest.MonkeyPatch, kind: str, many: int) -> None:
    """Of the kinds that need many answers, this one alone is there, from so many on."""
    monkeypatch.setattr(tabular, "MANY", {MLP: (10**9, 0), TREES: (10**9, 0), kind: (many, 5)})


def material(train: TrainingSet, right: bool) -> DistillationData:
    """A pool with the labels of a teacher who is right, or says anything."""
    random = np.random.default_rng(1)
    pool = rows(400, seed=5)
    said = pool.targets if right else np.eye(2, dtype=np.float32)[random.integers(0, 2, 400)]
    nothing = PseudoLabels(pool.vectors[:0], pool.targets[:0], pool.weights[:0])
    known = Attributions(np.zeros((2, 1, 6), np.float32), np.ones(6, np.float32))
    return DistillationData(PseudoLabels(pool.vectors, said, pool.weights), nothing, pool.vectors, known)


def test_trees_say_what_scikit_learn_says() -> None:
    train, test = rows(400, bent=True), rows(300, seed=1)
    made = HistGradientBoostingClassifier(**GROWN).fit(train.vectors, train.targets[:, 1] > 0.5)
    forest = _forest(train.vectors, train.targets, train.weights, multiple=False)
    expected = made.decision_function(test.vectors)
    np.testing.assert_allclose(forest.logits(test.vectors)[:, 0], expected, atol=1e-5)


def test_what_an_artifact_holds_of_trees_is_all_that_they_need() -> None:
    train = rows(300, bent=True)
    fit = Trees().fit(train, 0)
    assert {*Forest.__dataclass_fields__, "slope", "offset", "multiple"} == set(fit.tensors)
    assert all(np.asarray(each).dtype.kind in "fib" for each in fit.tensors.values())
    right = (Trees().predict(fit.tensors, train.vectors).argmax(axis=1) == train.targets.argmax(axis=1)).mean()
    assert right > 0.9


def test_trees_are_not_tried_with_few_answers_and_win_with_many_where_no_line_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, TREES, 300)
    assert chosen(rows(299, bent=True)) == FIELDS
    assert chosen(rows(400, bent=True)) == TREES
    assert chosen(rows(400)) == FIELDS, "a line is all there is"


def test_units_are_not_tried_with_few_answers_and_win_with_hundreds_where_no_line_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, MLP, 200)
    assert chosen(rows(199, bent=True)) == FIELDS
    assert chosen(rows(300, bent=True)) == MLP
    assert chosen(rows(300)) == FIELDS, "a line is all there is"


@pytest.mark.parametrize(("right", "kind"), [(True, LABELS), (False, FIELDS)])
def test_a_teachers_labels_are_started_from_if_the_answers_bear_them_out(right: bool, kind: str) -> None:
    train = rows(24)
    priors = Tabular().distil(material(train, right), False, 0)
    assert {FIELDS, "labels"} <= priors.keys()
    fit = Tabular().fit(replace(train, priors=priors), 0)
    assert list(KINDS)[int(fit.tensors[KIND][0])] == kind
    assert "labels" in fit.prior_errors


def test_of_fields_that_nobody_knows_anything_of_a_prior_that_helps_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "DOUBT", 1e9)  # so that no kind takes the place of the first
    told = Attributions(np.ones((2, 1, 6), np.float32) * np.array([[[-1]], [[1]]]), np.ones(6, np.float32))
    for known, kind in ((None, LABELS), (told, FIELDS)):
        train = rows(24)
        taught = material(train, right=True)
        priors = Tabular().distil(replace(taught, attributions=known or taught.attributions), False, 0)
        assert chosen(replace(train, priors=priors)) == kind


def test_where_laat_would_take_too_long_a_logistic_head_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "MOST_WORK", 0)
    train = rows(300)
    fit = Tabular().fit(train, 0)
    assert list(KINDS)[int(fit.tensors[KIND][0])] == LABELS and fit.trust is None
    np.testing.assert_array_equal(fit.held_out, Logistic().fit(train, 0).held_out)
    only(monkeypatch, MLP, 200)
    assert chosen(rows(300, bent=True)) == MLP, "around which there may be units as well"


def test_answers_without_a_say_choose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, TREES, 300)
    train = rows(400, bent=True)
    assert chosen(replace(train, judges=np.zeros(400, np.bool_))) == FIELDS


@pytest.mark.parametrize("kind", [FIELDS, LABELS])
def test_it_says_what_the_chosen_kind_says(kind: str) -> None:
    train = rows(24)
    taught = replace(train, priors=Tabular().distil(material(train, kind == LABELS), False, 0))
    fit = Tabular().fit(taught, 0)
    of_kind = {name: each for name, each in taught.priors.items() if (name == FIELDS) == (kind == FIELDS)}
    alone = (Laat() if kind == FIELDS else Logistic()).fit(replace(taught, priors=of_kind), 0)
    np.testing.assert_array_equal(fit.held_out, alone.held_out)
    vectors: Floats = rows(50, seed=9).vectors
    expected = (Laat() if kind == FIELDS else Logistic()).predict(alone.tensors, vectors)
    np.testing.assert_array_equal(Tabular().predict(fit.tensors, vectors), expected)


def test_trees_that_did_not_win_are_tried_again_only_when_answers_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, TREES, 100)
    grown: list[int] = []
    monkeypatch.setattr(
        Trees, "fit", lambda _, train, seed: grown.append(len(train.vectors)) or Laat().fit(train, seed)
    )
    train = rows(130)
    serving = Tabular().fit(rows(99), 0).tensors
    for n, before, expected in ((99, 98, 0), (101, 99, 1), (102, 101, 0), (115, 101, 1)):
        grown.clear()
        earlier = np.where(np.arange(n)[:, None] < before, train.targets[:n], np.nan).astype(np.float32)
        now = TrainingSet(
            train.vectors[:n], train.targets[:n], train.weights[:n], False, earlier, {**serving, KIND: np.array([0])}
        )
        Tabular().fit(now, 0)
        assert len(grown) == expected, (n, before)
        if n > 100:
            Tabular().fit(replace(now, earlier_tensors={**serving, KIND: np.array([2])}), 0)
            assert len(grown) == expected + 1, "those that serve are grown with every answer"


def test_trees_take_equal_weights_as_none_and_unequal_ones_as_they_are() -> None:
    train = rows(200, bent=True)
    plain, doubled = (_forest(train.vectors, train.targets, each * train.weights, False) for each in (1, 2))
    np.testing.assert_array_equal(plain.threshold, doubled.threshold)
    half = np.where(np.arange(200) < 100, train.weights, 0)
    one = _forest(train.vectors, train.targets, half, False).logits(train.vectors)
    other = _forest(train.vectors[:100], train.targets[:100], train.weights[:100], False).logits(train.vectors)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_earlier_knowledge_that_is_nearly_the_same_is_judged_as_the_present() -> None:
    train = rows(200, bent=True)
    for plugin in (Trees(), Mlp()):
        for known, same in ((195, True), (150, False)):
            earlier = np.where(np.arange(200)[:, None] < known, train.targets, np.nan).astype(np.float32)
            fit = plugin.fit(replace(train, earlier=earlier), 0)
            assert fit.held_out_earlier is not None
            assert np.array_equal(fit.held_out, fit.held_out_earlier) == same
