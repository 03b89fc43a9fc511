"""Of very many answers, a part is fitted on: new answers and every label are in it, and it hardly changes."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.core.types import Fit, Floats, Ints, TaskSchema, TrainingSet
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.training_sample import MOST_FITTED, training_sample
from plugins.learners.logistic import Logistic

LABELS = ("a", "b", "c")
SCHEMA = TaskSchema(LABELS, False, "label", "text", "text")


def answers(n: int, seed: int = 0) -> tuple[Ints, Floats]:
    """Tasks and targets: of one in a thousand, the label is c."""
    random = np.random.default_rng(seed)
    labels = np.where(random.random(n) < 0.001, 2, random.integers(0, 2, n))
    return np.sort(random.choice(10 * n, n, replace=False)), np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("n", [3, MOST_FITTED])
def test_as_many_answers_as_a_fit_has_time_for_are_all_fitted_on(n: int) -> None:
    assert training_sample(*answers(n), np.ones(n, np.bool_)) is None


def test_the_sample_has_the_new_answers_and_the_rare_labels() -> None:
    tasks, targets = answers(30_000)
    new = np.arange(30_000) % 500 == 7
    sample = training_sample(tasks, targets, new)
    assert sample is not None
    rows = sample.rows
    assert len(rows) == len(set(rows.tolist())) == MOST_FITTED
    assert (np.diff(rows) > 0).all()
    assert np.isin(np.flatnonzero(new), rows).all()
    assert np.isin(np.flatnonzero(targets[:, 2]), rows).all()


def test_one_more_answer_hardly_changes_the_sample() -> None:
    tasks, targets = answers(30_000)
    old = np.zeros(30_000, np.bool_)
    before = training_sample(tasks[:-1], targets[:-1], old[:-1])
    now = training_sample(tasks, targets, np.arange(30_000) == 29_999)
    assert before is not None and now is not None
    assert 29_999 in now.rows
    assert len(np.setdiff1d(before.rows, now.rows)) <= 2


def test_the_weights_make_every_label_as_frequent_as_it_is() -> None:
    tasks, targets = answers(30_000)
    sample = training_sample(tasks, targets, np.arange(30_000) % 500 == 7)
    assert sample is not None
    np.testing.assert_allclose(sample.weights @ targets[sample.rows], targets.sum(axis=0), rtol=1e-4)


def rare(n: int) -> tuple[Ints, Floats, Floats]:
    """Tasks, targets and vectors: of three in a hundred the label is b, and they lie among the others."""
    random = np.random.default_rng(3)
    is_rare = random.random(n) < 0.03
    vectors = random.normal(size=(n, 4)).astype(np.float32)
    vectors[is_rare, 0] += 1.5
    return np.arange(1, n + 1), np.eye(3, dtype=np.float32)[is_rare.astype(int)], vectors


def test_a_rare_label_is_neither_drafted_nor_believed_in_more_often_because_more_are_fitted_on() -> None:
    tasks, targets, vectors = rare(60_000)
    learners = []
    for number, n in enumerate((10_000, 50_000), 1):
        lesson = TrainingSnapshot("logistic", "here", LABELS, False, tasks[:n], tasks[:n].tobytes(), targets[:n])
        learners.append(fitted_model.learn(lesson, vectors[:n], None, number)[0])
    told = [learner.predict(SCHEMA, vectors[50_000:]) for learner in learners if learner is not None]
    assert [said[:, 1].mean() for said in told] == pytest.approx([0.03, 0.03], abs=0.01)
    right = [(said.argmax(axis=1) == targets[50_000:].argmax(axis=1)).mean() for said in told]
    assert right[1] > right[0] - 0.003


def test_a_learner_of_wrong_answers_is_told_from_the_serving_one_however_many_there_are() -> None:
    tasks, targets, vectors = rare(7_000)
    wrong = targets.copy()
    wrong[6_000:] = np.eye(3, dtype=np.float32)[2]
    lesson = TrainingSnapshot(
        "logistic", "here", LABELS, False, tasks[:6_000], tasks[:6_000].tobytes(), targets[:6_000]
    )
    serving, _ = fitted_model.learn(lesson, vectors[:6_000], None, 1)
    lesson = TrainingSnapshot("logistic", "here", LABELS, False, tasks, tasks.tobytes(), wrong)
    _, fit = fitted_model.learn(lesson, vectors, serving, 2)
    assert serving is not None and fit is not None and fit.held_out_earlier is not None
    assert np.allclose(fit.held_out_earlier[:6_000], serving.held_out, atol=1e-3)
    assert not np.allclose(fit.held_out_earlier, fit.held_out, atol=1e-2)


def learnt(n: int, serving: FittedModel | None, number: int) -> tuple[FittedModel, Floats, Floats | None]:
    """A fit on n answers that the vectors tell apart, but for some noise; held-out answers of it and of the serving
    one."""
    tasks, targets = answers(12_000)
    vectors = targets @ np.eye(3, 4, dtype=np.float32) + np.random.default_rng(1).normal(0, 0.3, (12_000, 4))
    lesson = TrainingSnapshot("logistic", "here", LABELS, False, tasks[:n], tasks[:n].tobytes(), targets[:n])
    learner, fit = fitted_model.learn(lesson, vectors[:n].astype(np.float32), serving, number)
    assert learner is not None and fit is not None
    return learner, fit.held_out, fit.held_out_earlier


def test_every_answer_is_judged_by_learners_that_have_not_seen_it_the_serving_one_too() -> None:
    serving, held_out_then, nothing = learnt(11_000, None, 1)
    assert nothing is None
    learner, held_out, earlier = learnt(12_000, serving, 2)
    _, targets = answers(12_000)
    assert earlier is not None
    assert held_out.shape == earlier.shape == learner.held_out.shape == (12_000, 3)
    assert np.allclose(held_out.sum(axis=1), 1, atol=1e-3)
    assert np.allclose(earlier.sum(axis=1), 1, atol=1e-3)
    assert np.allclose(earlier[:11_000], held_out_then, atol=1e-3), "as it is kept, in half the digits"
    for said in (held_out, earlier):
        right = said.argmax(axis=1) == targets.argmax(axis=1)
        assert 0.9 < right.mean() < 1


def test_of_more_answers_than_are_judged_anew_no_learner_is_fitted_to_what_the_serving_one_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker takes seconds for that, and what it said unseen is compared in any case."""
    monkeypatch.setattr(fitted_model, "MAX_CROSS_VALIDATED_AGAIN", 100)
    fits: list[bool] = []
    fit = Logistic.fit

    def noted(self: Logistic, train: TrainingSet, seed: int) -> Fit:
        fits.append(train.judges_earlier)
        return fit(self, train, seed)

    monkeypatch.setattr(Logistic, "fit", noted)
    tasks, targets, vectors = rare(300)
    serving = None
    for number, (n, plugin) in enumerate(((90, "tabular"), (100, "logistic"), (200, "logistic"), (300, "laat"))):
        lesson = TrainingSnapshot(plugin, "here", LABELS, False, tasks[:n], tasks[:n].tobytes(), targets[:n])
        serving, made = fitted_model.learn(lesson, vectors[:n], serving, number)
        assert made is not None and (made.held_out_earlier is not None) == (number > 0)
    assert fits == [True, False], "of the last one, no rival of the serving kind either"
