"""The logistic head against scikit-learn, and its folds against fitting each of them alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.domain import Floats, TrainingSet
from plugins.learners import logistic
from plugins.learners.calibration import probabilities, temperature
from plugins.learners.heads import LIFT, C, Heads, balance, solve
from plugins.learners.logistic import FOLDS, Logistic, split

GENERATOR = np.random.default_rng(3)
N, DIM, LABELS = 120, 24, 4
VECTORS = GENERATOR.normal(size=(N, DIM)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
HIDDEN = (VECTORS @ GENERATOR.normal(size=(DIM, LABELS)) + GENERATOR.normal(scale=0.3, size=(N, LABELS))).argmax(axis=1)
TARGETS = np.eye(LABELS, dtype=np.float32)[HIDDEN]
WEIGHTS = GENERATOR.uniform(0.2, 1.0, size=N).astype(np.float32)


def by_scikit(rows: Floats) -> Floats:
    """Logits of all rows, by scikit-learn's solver: the imaginary row becomes one row per label."""
    from sklearn.linear_model import LogisticRegression

    lift = balance((rows @ TARGETS)[None])[0]
    model = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(
        np.vstack([VECTORS, np.repeat(VECTORS.mean(axis=0)[None], LABELS, axis=0)]),
        np.concatenate([HIDDEN, np.arange(LABELS)]),
        sample_weight=np.concatenate([rows * lift[HIDDEN], np.full(LABELS, 1 / LABELS)]),
    )
    return np.asarray(model.decision_function(VECTORS), dtype=np.float32)


def centred(logits: Floats) -> Floats:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def test_the_head_is_that_of_scikit_learn() -> None:
    tensors = Logistic().fit(TrainingSet(VECTORS, TARGETS, WEIGHTS, False), 0).tensors
    logits = VECTORS @ tensors["weight"] + tensors["bias"]
    np.testing.assert_allclose(centred(logits), centred(by_scikit(WEIGHTS)), atol=0.03)


def test_every_fold_is_that_of_scikit_learn_without_the_held_out_rows() -> None:
    fit = Logistic().fit(TrainingSet(VECTORS, TARGETS, WEIGHTS, False), 0)
    fold = split(TARGETS, False, 0)
    heat = fit.tensors["temperature"]
    for f in range(FOLDS):
        mine = fold == f
        expected = probabilities(by_scikit(np.where(mine, 0, WEIGHTS).astype(np.float32))[mine] / heat, False)
        np.testing.assert_allclose(fit.held_out[mine], expected, atol=0.02)


def test_several_labels_are_one_binary_scikit_learn_head_each() -> None:
    from sklearn.linear_model import LogisticRegression

    targets = np.asarray(np.random.default_rng(0).random((N, 3)) < [0.5, 0.2, 0.05], dtype=np.float32)
    weights, biases = solve(VECTORS, [Heads(targets, WEIGHTS[None])], multiple=True)
    for label in range(3):
        held = WEIGHTS @ targets[:, label]
        lift = balance(np.array([held, WEIGHTS.sum() - held], dtype=np.float32))
        side = 1 - targets[:, label].astype(int)
        model = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(
            np.vstack([VECTORS, VECTORS.mean(axis=0), VECTORS.mean(axis=0)]),
            np.concatenate([targets[:, label], [0, 1]]),
            sample_weight=np.concatenate([WEIGHTS * lift[side], [0.5, 0.5]]),
        )
        mine = VECTORS @ weights[0, :, label] + biases[0, label]
        np.testing.assert_allclose(mine, model.decision_function(VECTORS), atol=0.03)


def test_heads_fitted_together_are_those_fitted_alone() -> None:
    rows = WEIGHTS * (np.random.default_rng(1).random((4, N)) < 0.7)
    together, bias = solve(VECTORS, [Heads(TARGETS, rows)], multiple=False)
    for h in range(4):
        alone, lone_bias = solve(VECTORS, [Heads(TARGETS, rows[h : h + 1])], multiple=False)
        np.testing.assert_allclose(
            centred(VECTORS @ together[h] + bias[h]), centred(VECTORS @ alone[0] + lone_bias[0]), atol=0.03
        )


def test_soft_targets_are_learnt_as_shares() -> None:
    soft = np.tile(np.array([[0.7, 0.2, 0.1]], dtype=np.float32), (60, 1))
    fit = Logistic().fit(TrainingSet(np.ones((60, 5), np.float32), soft, np.ones(60, np.float32), False), 0)
    answer = Logistic().predict(fit.tensors, np.ones((1, 5), np.float32))
    assert answer[0].argsort().tolist() == [2, 1, 0] or np.allclose(answer, 1 / 3, atol=0.1)


@given(st.integers(1, 80), st.integers(1, 6), st.booleans(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_folds_are_even_and_stratified(n: int, c: int, multiple: bool, seed: int) -> None:
    targets = np.eye(c, dtype=np.float32)[np.random.default_rng(seed).integers(0, c, n)]
    fold = split(targets, multiple, seed)
    sizes = np.bincount(fold, minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1 and fold.max() + 1 == min(n, FOLDS)
    for label in range(c):
        share = np.bincount(fold[targets[:, label] > 0], minlength=FOLDS)
        assert share.max() - share.min() <= 1


def test_balance_lifts_rare_labels_to_equal_mass_but_not_beyond_the_limit() -> None:
    mass = np.array([[30.0, 20.0, 10.0], [998.0, 2.0, 0.0]], dtype=np.float32)
    lifted = balance(mass) * mass
    np.testing.assert_allclose(lifted[0], 20.0, rtol=1e-5)
    weights = balance(mass)[1]
    np.testing.assert_allclose(weights[1] / weights[0], LIFT / (500 / 998), rtol=1e-4)
    np.testing.assert_allclose(lifted.sum(axis=1), mass.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(multiple: bool, true: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2.0, size=(4000, 3)).astype(np.float32)
    shares = probabilities(logits.copy(), multiple)
    if multiple:
        targets = (generator.random(shares.shape) < shares).astype(np.float32)
    else:
        targets = np.eye(3, dtype=np.float32)[[generator.choice(3, p=row / row.sum()) for row in shares.astype(float)]]
    found = temperature(np.asarray(logits * np.float32(true)), targets, np.ones(4000, np.float32), multiple)
    assert abs(found / true - 1) < 0.1


def test_few_rows_leave_the_temperature_near_one() -> None:
    logits, targets = np.array([[3.0, 0.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    assert 0.8 < temperature(logits, targets, np.ones(1, np.float32), False) < 1.0
    assert temperature(logits, targets, np.zeros(1, np.float32), False) == pytest.approx(1.0, abs=1e-3)


def test_extreme_logits_stay_finite() -> None:
    for multiple in (False, True):
        answers = probabilities(np.array([[1e4, -1e4, 0.0]], np.float32), multiple)
        assert np.isfinite(answers).all()


def test_prediction_works_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Logistic()
    tensors = learner.fit(TrainingSet(VECTORS, TARGETS, WEIGHTS, False), 0).tensors
    whole = learner.predict(tensors, VECTORS)
    monkeypatch.setattr(logistic, "CHUNK", 7)
    np.testing.assert_allclose(learner.predict(tensors, VECTORS), whole, atol=1e-6)
