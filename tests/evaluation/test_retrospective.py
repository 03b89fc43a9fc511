"""Learners of earlier times: a row of weight 0 is not learnt from, and still predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from schemas import ONE_CHOICE, plain_choices, scorer

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation.metrics import is_correct
from ml_backend.evaluation.retrospective import (
    ANSWERS_BETWEEN_MODELS,
    CURVE_POINTS,
    MIN_CURVE_ANSWERS,
    RECENT_MODELS,
    curve_sizes,
    fit_on_rows,
    predict_retrospectively,
)
from plugins.learners.cross_validation import split
from plugins.learners.logistic import Logistic

RANDOM = np.random.default_rng(5)
LABELS = RANDOM.integers(0, 3, 90)
VECTORS = RANDOM.normal(size=(3, 8))[LABELS] + RANDOM.normal(size=(90, 8))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
TRAIN = TrainingSet(VECTORS, np.eye(3, dtype=np.float32)[LABELS], np.ones(90, np.float32), ONE_CHOICE)


@pytest.mark.parametrize("multiple", [False, True])
def test_what_a_row_of_weight_zero_says_reaches_nobody_and_it_is_still_answered(multiple: bool) -> None:
    early_rows = np.arange(90) < 50
    train = replace(TRAIN, control=plain_choices(multiple))
    fit = fit_on_rows(Logistic(), train, early_rows, seed=1)
    # other targets in the later rows, which are in the same folds because their strongest label stays
    other_targets = np.where(early_rows[:, None], TRAIN.targets, np.float32(0.3) + np.float32(0.1) * TRAIN.targets)
    fit_with_other_targets = fit_on_rows(Logistic(), replace(train, targets=other_targets), early_rows, seed=1)
    assert np.array_equal(fit.held_out, fit_with_other_targets.held_out)
    assert all(np.array_equal(fit.tensors[name], fit_with_other_targets.tensors[name]) for name in fit.tensors)
    assert is_correct(fit.held_out[~early_rows], TRAIN.targets[~early_rows], multiple).mean() > 0.5


def test_every_row_is_answered_by_the_learner_of_the_other_folds() -> None:
    early_rows = np.arange(90) < 50
    held_out = fit_on_rows(Logistic(), TRAIN, early_rows, seed=1).held_out
    folds = split(TRAIN.targets, multiple=False, seed=1)
    for fold_number in range(5):
        fitted_rows = early_rows & (folds != fold_number)
        subset = TrainingSet(VECTORS[fitted_rows], TRAIN.targets[fitted_rows], TRAIN.weights[fitted_rows], ONE_CHOICE)
        probabilities = Logistic().predict(Logistic().fit(subset, seed=1).tensors, VECTORS[folds == fold_number])
        agree = probabilities.argmax(axis=1) == held_out[folds == fold_number].argmax(axis=1)
        assert agree.mean() > 0.85  # each fit has its own calibration


class CountingLearner:
    """Records how many rows it was fitted on each time."""

    def __init__(self) -> None:
        self.fit_sizes: list[int] = []

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        rows = int((train.weights > 0).sum())
        assert (train.weights[:rows] > 0).all()
        assert train.earlier is None
        self.fit_sizes.append(rows)
        return Fit({"rows": np.array(rows)}, self.predict({"rows": np.array(rows)}, train.vectors))

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Label 0 for every row if it was fitted on fewer than 100 rows, label 1 otherwise."""
        return np.tile(np.eye(2, dtype=np.float32)[int(np.asarray(tensors["rows"], int) >= 100)], (len(vectors), 1))


def rows(n: int, multiple: bool = False) -> TrainingSet:
    targets = np.eye(2, dtype=np.float32)[np.arange(n) % 2]
    return TrainingSet(
        np.zeros((n, 4), np.float32),
        targets,
        np.ones(n, np.float32),
        plain_choices(multiple),
        earlier=targets,
    )


@pytest.mark.parametrize("multiple", [False, True])
def test_the_curve_and_the_last_learners_take_eight_fits(multiple: bool) -> None:
    learner, n = CountingLearner(), 140
    past = predict_retrospectively(
        learner, rows(n, multiple), np.zeros((7, 4), np.float32), 0, scorer(multiple=multiple)
    )
    recent = [65, 90, 115, 140]
    assert sorted(learner.fit_sizes) == sorted({*past.sizes.tolist(), *recent})
    assert len(learner.fit_sizes) == CURVE_POINTS + RECENT_MODELS - 1
    predicts_one = past.sizes >= 100
    assert (past.scores == ((np.arange(n) % 2 == 1) == predicts_one[:, None])).all()
    of_label_one = np.array(past.predictions)[..., 1] == 1
    assert of_label_one.shape == (RECENT_MODELS, 7)
    assert of_label_one[:, 0].tolist() == [False, False, True, True]


def test_there_are_no_successive_learners_before_the_oldest_has_its_first_rows() -> None:
    min_answers = MIN_CURVE_ANSWERS + (RECENT_MODELS - 1) * ANSWERS_BETWEEN_MODELS
    stop_set = np.zeros((7, 4), np.float32)
    assert not predict_retrospectively(CountingLearner(), rows(min_answers - 1), stop_set, 0, scorer()).predictions
    assert predict_retrospectively(CountingLearner(), rows(min_answers), stop_set, 0, scorer()).predictions is not None


@pytest.mark.parametrize("n", [1, 19, 20, 21, 23, 24, 60, 500, 20_000])
def test_sizes_grow_by_a_factor_and_end_with_all_rows(n: int) -> None:
    sizes = curve_sizes(n)
    assert sizes[-1] == n
    assert len(sizes) <= CURVE_POINTS
    assert (np.diff(sizes) > 0).all()
    if n >= 60:
        assert sizes[0] == MIN_CURVE_ANSWERS
        assert np.allclose(sizes[1:] / sizes[:-1], (n / MIN_CURVE_ANSWERS) ** 0.25, rtol=0.05)
