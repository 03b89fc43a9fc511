"""Of very many answers, a part is fitted on: new answers and every label are in it, and it hardly changes."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend import knowledge
from ml_backend.domain import Floats, Ints
from ml_backend.knowledge import Knowledge, Lesson
from ml_backend.training_sample import MOST_FITTED, training_rows

LABELS = ("a", "b", "c")


def answers(n: int, seed: int = 0) -> tuple[Ints, Floats]:
    """Tasks and targets: of one in a thousand, the label is c."""
    random = np.random.default_rng(seed)
    labels = np.where(random.random(n) < 0.001, 2, random.integers(0, 2, n))
    return np.sort(random.choice(10 * n, n, replace=False)), np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("n", [3, MOST_FITTED])
def test_as_many_answers_as_a_fit_has_time_for_are_all_fitted_on(n: int) -> None:
    assert training_rows(*answers(n), np.ones(n, np.bool_)) is None


def test_the_sample_has_the_new_answers_and_the_rare_labels() -> None:
    tasks, targets = answers(30_000)
    new = np.arange(30_000) % 500 == 7
    rows = training_rows(tasks, targets, new)
    assert rows is not None
    assert len(rows) == len(set(rows.tolist())) == MOST_FITTED
    assert (np.diff(rows) > 0).all()
    assert np.isin(np.flatnonzero(new), rows).all()
    assert np.isin(np.flatnonzero(targets[:, 2]), rows).all()


def test_one_more_answer_hardly_changes_the_sample() -> None:
    tasks, targets = answers(30_000)
    old = np.zeros(30_000, np.bool_)
    before = training_rows(tasks[:-1], targets[:-1], old[:-1])
    now = training_rows(tasks, targets, np.arange(30_000) == 29_999)
    assert before is not None and now is not None
    assert 29_999 in now
    assert len(np.setdiff1d(before, now)) <= 2


def learnt(n: int, serving: Knowledge | None, number: int) -> tuple[Knowledge, Floats, Floats | None]:
    """A fit on n answers that the vectors tell apart, but for some noise; held-out answers of it and of the serving
    one."""
    tasks, targets = answers(12_000)
    vectors = targets @ np.eye(3, 4, dtype=np.float32) + np.random.default_rng(1).normal(0, 0.3, (12_000, 4))
    lesson = Lesson("logistic", "here", LABELS, False, tasks[:n], tasks[:n].tobytes(), targets[:n])
    learner, fit = knowledge.learn(lesson, vectors[:n].astype(np.float32), serving, number)
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
