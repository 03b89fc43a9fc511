"""The training sample has new rows and every label, and hardly changes from round to round."""

from __future__ import annotations

import numpy as np
import pytest
from schemas import fitted_choices, text_schema

from ml_backend.core.arrays import Fit, Floats, Ints, TrainingSet
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.training_sample import MAX_FITTED_TASKS, training_sample
from plugins.learners.logistic import Logistic

LABELS = ("a", "b", "c")
SCHEMA = text_schema(LABELS)
FITTED = fitted_choices(LABELS)


def labelled_tasks(n: int, seed: int = 0) -> tuple[Ints, Floats]:
    """Tasks and targets: one label in a thousand is c."""
    random = np.random.default_rng(seed)
    labels = np.where(random.random(n) < 0.001, 2, random.integers(0, 2, n))
    return np.sort(random.choice(10 * n, n, replace=False)), np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("n", [3, MAX_FITTED_TASKS])
def test_up_to_the_maximum_all_tasks_are_fitted_on(n: int) -> None:
    tasks, targets = labelled_tasks(n)
    assert training_sample(tasks, targets > 0, np.ones(n, np.bool_)) is None


def test_the_sample_has_the_new_targets_and_the_rare_labels() -> None:
    tasks, targets = labelled_tasks(30_000)
    new = np.arange(30_000) % 500 == 7
    sample = training_sample(tasks, targets > 0, new)
    assert sample is not None
    rows = sample.rows
    assert len(rows) == len(set(rows.tolist())) == MAX_FITTED_TASKS
    assert (np.diff(rows) > 0).all()
    assert np.isin(np.flatnonzero(new), rows).all()
    assert np.isin(np.flatnonzero(targets[:, 2]), rows).all()


def test_one_more_target_hardly_changes_the_sample() -> None:
    tasks, targets = labelled_tasks(30_000)
    old = np.zeros(30_000, np.bool_)
    before = training_sample(tasks[:-1], targets[:-1] > 0, old[:-1])
    now = training_sample(tasks, targets > 0, np.arange(30_000) == 29_999)
    assert before is not None and now is not None
    assert 29_999 in now.rows
    assert len(np.setdiff1d(before.rows, now.rows)) <= 2


def test_the_weights_restore_the_frequency_of_every_label() -> None:
    tasks, targets = labelled_tasks(30_000)
    sample = training_sample(tasks, targets > 0, np.arange(30_000) % 500 == 7)
    assert sample is not None
    np.testing.assert_allclose(sample.weights @ targets[sample.rows], targets.sum(axis=0), rtol=1e-4)


def rare(n: int) -> tuple[Ints, Floats, Floats]:
    """Tasks, targets and vectors: three labels in a hundred are b, and their vectors overlap with those of a."""
    random = np.random.default_rng(3)
    is_rare = random.random(n) < 0.03
    vectors = random.normal(size=(n, 4)).astype(np.float32)
    vectors[is_rare, 0] += 1.5
    return np.arange(1, n + 1), np.eye(3, dtype=np.float32)[is_rare.astype(int)], vectors


def test_a_rare_label_is_not_predicted_more_often_because_it_is_over_represented() -> None:
    tasks, targets, vectors = rare(60_000)
    learners = []
    for number, n in enumerate((10_000, 50_000), 1):
        snapshot = TrainingSnapshot("logistic", "here", FITTED, tasks[:n], tasks[:n].tobytes(), targets[:n])
        learners.append(fitted_model.fit_model(snapshot, snapshot.training_set(vectors[:n]), None, number)[0])
    predictions = [learner.predict(SCHEMA.controls[0], vectors[50_000:]) for learner in learners if learner is not None]
    assert [probabilities[:, 1].mean() for probabilities in predictions] == pytest.approx([0.03, 0.03], abs=0.01)
    true_labels = targets[50_000:].argmax(axis=1)
    accuracies = [(probabilities.argmax(axis=1) == true_labels).mean() for probabilities in predictions]
    assert accuracies[1] > accuracies[0] - 0.003


def test_a_model_of_wrong_targets_differs_from_the_serving_model_also_for_many_targets() -> None:
    tasks, targets, vectors = rare(7_000)
    wrong = targets.copy()
    wrong[6_000:] = np.eye(3, dtype=np.float32)[2]
    snapshot = TrainingSnapshot("logistic", "here", FITTED, tasks[:6_000], tasks[:6_000].tobytes(), targets[:6_000])
    serving, _ = fitted_model.fit_model(snapshot, snapshot.training_set(vectors[:6_000]), None, 1)
    snapshot = TrainingSnapshot("logistic", "here", FITTED, tasks, tasks.tobytes(), wrong)
    _, fit = fitted_model.fit_model(snapshot, snapshot.training_set(vectors), serving, 2)
    assert serving is not None and fit is not None and fit.held_out_earlier is not None
    assert np.allclose(fit.held_out_earlier[:6_000], serving.held_out, atol=1e-3)
    assert not np.allclose(fit.held_out_earlier, fit.held_out, atol=1e-2)


def fitted(n: int, serving: FittedModel | None, number: int) -> tuple[FittedModel, Floats, Floats | None]:
    """A model fitted on n tasks, whose vectors separate the labels but for some noise, with its held-out probabilities
    and those of the serving model."""
    tasks, targets = labelled_tasks(12_000)
    vectors = targets @ np.eye(3, 4, dtype=np.float32) + np.random.default_rng(1).normal(0, 0.3, (12_000, 4))
    snapshot = TrainingSnapshot("logistic", "here", FITTED, tasks[:n], tasks[:n].tobytes(), targets[:n])
    learner, fit = fitted_model.fit_model(
        snapshot, snapshot.training_set(vectors[:n].astype(np.float32)), serving, number
    )
    assert learner is not None and fit is not None
    return learner, fit.held_out, fit.held_out_earlier


def test_held_out_probabilities_come_from_models_that_were_not_fitted_on_the_row() -> None:
    serving, serving_held_out, no_earlier = fitted(11_000, None, 1)
    assert no_earlier is None
    learner, held_out, earlier = fitted(12_000, serving, 2)
    _, targets = labelled_tasks(12_000)
    assert earlier is not None
    assert held_out.shape == earlier.shape == learner.held_out.shape == (12_000, 3)
    assert np.allclose(held_out.sum(axis=1), 1, atol=1e-3)
    assert np.allclose(earlier.sum(axis=1), 1, atol=1e-3)
    assert np.allclose(earlier[:11_000], serving_held_out, atol=1e-3), "rounded as in an artifact"
    for probabilities in (held_out, earlier):
        is_right = probabilities.argmax(axis=1) == targets.argmax(axis=1)
        assert 0.9 < is_right.mean() < 1


def test_above_the_maximum_the_serving_model_is_not_cross_validated_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a fit takes seconds, and the held-out probabilities of the serving model can be compared without it."""
    monkeypatch.setattr(fitted_model, "MAX_CROSS_VALIDATED_AGAIN", 100)
    fits: list[bool] = []
    fit = Logistic.fit

    def recording_fit(self: Logistic, train: TrainingSet, seed: int) -> Fit:
        fits.append(train.validates_earlier)
        return fit(self, train, seed)

    monkeypatch.setattr(Logistic, "fit", recording_fit)
    tasks, targets, vectors = rare(300)
    serving = None
    for number, (n, plugin) in enumerate(((90, "tabular"), (100, "logistic"), (200, "logistic"), (300, "laat"))):
        snapshot = TrainingSnapshot(plugin, "here", FITTED, tasks[:n], tasks[:n].tobytes(), targets[:n])
        serving, new_fit = fitted_model.fit_model(snapshot, snapshot.training_set(vectors[:n]), serving, number)
        assert new_fit is not None and (new_fit.held_out_earlier is not None) == (number > 0)
    assert fits == [True, False], "nor is a rival fitted with the plugin of the serving model"
