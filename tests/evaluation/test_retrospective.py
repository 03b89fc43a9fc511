"""Learners of other times: what a row of weight 0 is for, and what comes out of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.core.types import Fit, Floats, Tensors, TrainingSet
from ml_backend.evaluation.metrics import correct
from ml_backend.evaluation.retrospective import FIRST, MODELS, POINTS, STEP, predict_retrospectively, sizes, with_rows
from plugins.learners.cross_validation import split
from plugins.learners.logistic import Logistic

RANDOM = np.random.default_rng(5)
LABELS = RANDOM.integers(0, 3, 90)
VECTORS = RANDOM.normal(size=(3, 8))[LABELS] + RANDOM.normal(size=(90, 8))
VECTORS = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
TRAIN = TrainingSet(VECTORS, np.eye(3, dtype=np.float32)[LABELS], np.ones(90, np.float32), multiple=False)


@pytest.mark.parametrize("multiple", [False, True])
def test_what_a_row_of_weight_zero_says_reaches_nobody_and_it_is_still_answered(multiple: bool) -> None:
    few = np.arange(90) < 50
    train = replace(TRAIN, multiple=multiple)
    honest = with_rows(Logistic(), train, few, seed=1)
    # other answers in the later rows, which are dealt to the same folds because their strongest label stays
    lies = np.where(few[:, None], TRAIN.targets, np.float32(0.3) + np.float32(0.1) * TRAIN.targets)
    lied = with_rows(Logistic(), replace(train, targets=lies), few, seed=1)
    assert np.array_equal(honest.held_out, lied.held_out)
    assert all(np.array_equal(honest.tensors[name], lied.tensors[name]) for name in honest.tensors)
    assert correct(honest.held_out[~few], TRAIN.targets[~few], multiple).mean() > 0.5


def test_every_row_is_answered_by_the_learner_of_the_other_folds() -> None:
    few = np.arange(90) < 50
    held_out = with_rows(Logistic(), TRAIN, few, seed=1).held_out
    fold = split(TRAIN.targets, multiple=False, seed=1)
    for f in range(5):
        others = few & (fold != f)
        alone = TrainingSet(VECTORS[others], TRAIN.targets[others], TRAIN.weights[others], multiple=False)
        by_itself = Logistic().predict(Logistic().fit(alone, seed=1).tensors, VECTORS[fold == f])
        agree = by_itself.argmax(axis=1) == held_out[fold == f].argmax(axis=1)
        assert agree.mean() > 0.85  # but for the calibration, which each fit makes for itself


class Counting:
    """Says of every row what share of the weight it was fitted on, and remembers its fits."""

    def __init__(self) -> None:
        self.fitted: list[int] = []

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        rows = int((train.weights > 0).sum())
        assert (train.weights[:rows] > 0).all()
        assert train.earlier is None
        self.fitted.append(rows)
        return Fit({"rows": np.array(rows)}, self.predict({"rows": np.array(rows)}, train.vectors))

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Sure of label 0 until it has 100 rows, of label 1 from then on."""
        return np.tile(np.eye(2, dtype=np.float32)[int(tensors["rows"] >= 100)], (len(vectors), 1))


def rows(n: int, multiple: bool = False) -> TrainingSet:
    targets = np.eye(2, dtype=np.float32)[np.arange(n) % 2]
    return TrainingSet(np.zeros((n, 4), np.float32), targets, np.ones(n, np.float32), multiple, earlier=targets)


@pytest.mark.parametrize("multiple", [False, True])
def test_the_curve_and_the_last_learners_take_eight_fits(multiple: bool) -> None:
    learner, n = Counting(), 140
    found = predict_retrospectively(learner, rows(n, multiple), np.zeros((7, 4), np.float32), seed=0)
    recent = [65, 90, 115, 140]
    assert sorted(learner.fitted) == sorted({*found.sizes.tolist(), *recent})
    assert len(learner.fitted) == POINTS + MODELS - 1
    says_one = found.sizes >= 100
    assert (found.right == ((np.arange(n) % 2 == 1) == says_one[:, None])).all()
    assert found.predictions is not None
    of_label_one = found.predictions[..., 1] if multiple else found.predictions == 1
    assert of_label_one.shape == (MODELS, 7)
    assert of_label_one[:, 0].tolist() == [False, False, True, True]


def test_there_are_no_successive_learners_before_the_oldest_has_its_first_rows() -> None:
    enough = FIRST + (MODELS - 1) * STEP
    stop_set = np.zeros((7, 4), np.float32)
    assert predict_retrospectively(Counting(), rows(enough - 1), stop_set, seed=0).predictions is None
    assert predict_retrospectively(Counting(), rows(enough), stop_set, seed=0).predictions is not None


@pytest.mark.parametrize("n", [1, 19, 20, 21, 23, 24, 60, 500, 20_000])
def test_sizes_grow_by_a_factor_and_end_with_all_rows(n: int) -> None:
    found = sizes(n)
    assert found[-1] == n
    assert len(found) <= POINTS
    assert (np.diff(found) > 0).all()
    if n >= 60:
        assert found[0] == FIRST
        assert np.allclose(found[1:] / found[:-1], (n / FIRST) ** 0.25, rtol=0.05)
