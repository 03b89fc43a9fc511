"""The contract of every learner, whatever its kind of labels.

    from learner_contract import LearnerContract

    class TestMine(LearnerContract):
        @pytest.fixture
        def learner(self):
            return Mine()

        def training_set(self, n): ...

`test_learners.py` runs it, with more tests, for the learners of choices: add yours to the fixture `learner` there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import load, save

from ml_backend.core.arrays import (
    DistillationData,
    Ints,
    PseudoLabels,
    Rows,
    Tensors,
    TrainingSet,
    are_missing,
    content_bytes,
    missing_rows,
)
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.kinds.lookup import kind_of


class LearnerContract:
    """What the rest of Apprentice relies on.

    least_score  of new rows, by `Kind.scores`, after a fit on 150 rows
    """

    least_score: ClassVar[float] = 0.9

    def training_set(self, n: int) -> TrainingSet:
        """n rows whose targets differ and can be learnt; other ones for each n."""
        raise NotImplementedError

    def wrong(self, targets: Rows) -> Rows:
        """Targets (n, ...) none of which is right."""
        raise NotImplementedError

    def assert_are_near(self, first: Rows, second: Rows, error: float) -> None:
        """Asserts that predictions are the same but for this difference between probabilities."""
        np.testing.assert_allclose(first, second, atol=error)

    def assert_are_sound(self, predicted: Rows, targets: Rows) -> None:
        """Asserts that predictions are of the shape of the targets and finite."""
        assert predicted.shape == targets.shape and predicted.dtype == targets.dtype
        assert np.isfinite(predicted).all() and (predicted >= 0).all() and (predicted <= 1).all()

    def predict(self, learner: Learner, tensors: Tensors, train: TrainingSet) -> Rows:
        """The predictions for the rows of a training set."""
        return predict_rows(learner, tensors, train.vectors, train.texts)

    def score(self, predicted: Rows, train: TrainingSet) -> float:
        """The mean score of the predictions for the rows of a training set."""
        return float(kind_of(train.control).scores(train.control, predicted, train.targets).mean())

    def test_it_learns_and_its_held_out_predictions_are_right(self, learner: Learner) -> None:
        train, new = self.training_set(150), self.training_set(300)
        fit = learner.fit(train, 0)
        assert self.score(fit.held_out, train) >= self.least_score
        assert self.score(self.predict(learner, fit.tensors, new), new) >= self.least_score

    @pytest.mark.parametrize("n", [1, 2, 5, 40])
    def test_any_number_of_rows_gives_sound_predictions(self, learner: Learner, n: int) -> None:
        train = self.training_set(n)
        earlier = train.targets.copy()
        earlier[(n + 1) // 2 :] = missing_rows(earlier, n // 2)
        fit = learner.fit(replace(train, earlier=earlier), 0)
        assert fit.held_out_earlier is not None
        for predicted in (fit.held_out, fit.held_out_earlier, self.predict(learner, fit.tensors, train)):
            self.assert_are_sound(predicted, train.targets)

    def test_equal_targets_are_learnt(self, learner: Learner) -> None:
        train = self.training_set(12)
        equal = replace(train, targets=train.targets[np.zeros(12, np.int64)])
        fit = learner.fit(equal, 0)
        for predicted in (fit.held_out, self.predict(learner, fit.tensors, equal)):
            self.assert_are_sound(predicted, equal.targets)

    def test_a_fit_is_the_same_for_the_same_seed(self, learner: Learner) -> None:
        train = self.training_set(50)
        first, second = learner.fit(train, 7), learner.fit(train, 7)
        assert content_bytes(first.held_out) == content_bytes(second.held_out)
        assert first.tensors.keys() == second.tensors.keys()
        for name in first.tensors:
            np.testing.assert_array_equal(first.tensors[name], second.tensors[name])

    def test_stored_tensors_predict_the_same(self, learner: Learner) -> None:
        train = self.training_set(50)
        tensors = learner.fit(train, 0).tensors
        stored = load(save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}))
        predicted = [self.predict(learner, of_fit, train) for of_fit in (tensors, stored)]
        assert content_bytes(predicted[0]) == content_bytes(predicted[1])

    def test_the_prediction_of_a_row_does_not_depend_on_other_rows(self, learner: Learner) -> None:
        train, rows = self.training_set(50), np.array([3, 17, 4])
        tensors = learner.fit(train, 0).tensors
        self.assert_are_near(
            self.predict(learner, tensors, train)[rows], self.predict(learner, tensors, train.take(rows)), 1e-3
        )

    def test_a_fit_from_the_serving_learner_is_as_good_as_one_from_nothing(self, learner: Learner) -> None:
        train = self.training_set(60)
        start: Ints = np.arange(50)
        serving = learner.fit(train.take(start), 0)
        earlier = train.targets.copy()
        earlier[50:] = missing_rows(earlier, 10)
        warm = learner.fit(replace(train, earlier=earlier, earlier_tensors=serving.tensors), 0)
        cold, new = learner.fit(train, 0), self.training_set(200)
        scores = [self.score(self.predict(learner, fit.tensors, new), new) for fit in (warm, cold)]
        assert scores[0] > scores[1] - 0.03

    def test_without_earlier_targets_there_are_no_earlier_predictions(self, learner: Learner) -> None:
        assert learner.fit(self.training_set(20), 0).held_out_earlier is None

    def test_earlier_targets_equal_to_the_present_ones_give_equal_predictions(self, learner: Learner) -> None:
        train = self.training_set(60)
        fit = learner.fit(replace(train, earlier=train.targets), 0)
        assert fit.held_out_earlier is not None
        self.assert_are_near(fit.held_out_earlier, fit.held_out, 1e-3)

    def test_earlier_targets_that_are_assessed_by_other_means_are_not_cross_validated(self, learner: Learner) -> None:
        train = self.training_set(60)
        fit = learner.fit(replace(train, earlier=train.targets, validates_earlier=False), 0)
        assert fit.held_out_earlier is None
        assert content_bytes(fit.held_out) == content_bytes(learner.fit(train, 0).held_out)

    def test_earlier_targets_of_few_rows_are_worse_and_do_not_change_the_present_fit(self, learner: Learner) -> None:
        train = self.training_set(120)
        earlier = train.targets.copy()
        earlier[2:] = missing_rows(earlier, 118)
        plain, both = learner.fit(train, 0), learner.fit(replace(train, earlier=earlier), 0)
        assert both.held_out_earlier is not None and not are_missing(both.held_out_earlier).any()
        assert self.score(both.held_out_earlier, train) < self.score(both.held_out, train) - 0.1
        self.assert_are_near(both.held_out, plain.held_out, 2e-2)

    def test_rows_without_weight_are_as_good_as_absent(self, learner: Learner) -> None:
        train = self.training_set(120)
        is_counted = np.arange(120) < 60
        targets = train.targets.copy()
        targets[60:] = self.wrong(targets[60:])
        doubled = replace(train, targets=targets, weights=is_counted.astype(np.float32))
        assert self.score(self.predict(learner, learner.fit(doubled, 0).tensors, train), train) >= self.least_score

    def test_rows_without_weight_alone_give_sound_predictions(self, learner: Learner) -> None:
        train = replace(self.training_set(12), weights=np.zeros(12, np.float32))
        fit = learner.fit(train, 0)
        for predicted in (fit.held_out, self.predict(learner, fit.tensors, train)):
            self.assert_are_sound(predicted, train.targets)

    def test_the_training_set_is_left_as_it_was(self, learner: Learner) -> None:
        train = self.training_set(30)
        earlier = train.targets.copy()
        earlier[20:] = missing_rows(earlier, 10)
        arrays = (train.vectors, train.targets, train.weights, earlier)
        before = [content_bytes(array) for array in arrays]
        self.predict(learner, learner.fit(replace(train, earlier=earlier), 0).tensors, train)
        assert [content_bytes(array) for array in arrays] == before

    def test_without_teacher_labels_there_is_no_prior(self, learner: Learner) -> None:
        train = self.training_set(20).take(np.arange(0))
        none = PseudoLabels(train.vectors, train.targets, train.weights, train.texts)
        assert learner.distil(DistillationData(none, none, train.vectors, train.control), 0) == {}
