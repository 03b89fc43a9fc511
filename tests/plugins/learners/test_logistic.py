"""The logistic head compared with scikit-learn's, and its folds with heads that are fitted alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import ONE_CHOICE, SEVERAL_CHOICES, plain_choices

from ml_backend.core.arrays import Floats, TrainingSet
from plugins.learners.calibration import CHUNK_ROWS, fit_calibration, probabilities
from plugins.learners.cross_validation import FOLDS, split
from plugins.learners.logistic import Logistic
from plugins.learners.multi_head_logistic import MANY_ROWS, MAX_LIFT, C, Heads, balance, solve

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


@pytest.mark.parametrize("many_rows", [0, MANY_ROWS])
def test_the_head_is_that_of_scikit_learn(many_rows: int) -> None:
    weights, biases = solve(VECTORS, [Heads(TARGETS, WEIGHTS[None])], multiple=False, many_rows=many_rows)
    np.testing.assert_allclose(centred(VECTORS @ weights[0] + biases[0]), centred(by_scikit(WEIGHTS)), atol=0.03)


def test_features_that_depend_on_each_other_leave_the_well_conditioned_coordinates_finite() -> None:
    doubled = 1e3 * np.hstack([VECTORS, VECTORS])
    few, few_bias = solve(doubled, [Heads(TARGETS, WEIGHTS[None])], multiple=False)
    many, many_bias = solve(doubled, [Heads(TARGETS, WEIGHTS[None])], multiple=False, many_rows=0)
    assert np.isfinite(many).all() and np.isfinite(many_bias).all()
    same = (doubled @ few[0] + few_bias[0]).argmax(axis=1) == (doubled @ many[0] + many_bias[0]).argmax(axis=1)
    assert same.mean() > 0.95


def test_held_out_probabilities_are_the_calibrated_ones_of_heads_without_the_held_out_rows() -> None:
    fit = Logistic().fit(TrainingSet(VECTORS, TARGETS, WEIGHTS, ONE_CHOICE), 0)
    fold = split(TARGETS, False, 0)
    logits = np.empty_like(TARGETS)
    for f in range(FOLDS):
        mine = fold == f
        logits[mine] = centred(by_scikit(np.where(mine, 0, WEIGHTS).astype(np.float32)))[mine]
    slope, offset = fit_calibration(logits, TARGETS, WEIGHTS, False)
    np.testing.assert_allclose(fit.held_out, probabilities(logits * slope + offset, False), atol=0.02)
    whole = probabilities(by_scikit(WEIGHTS) * slope + offset, False)
    np.testing.assert_allclose(Logistic().predict(fit.tensors, VECTORS), whole, atol=0.02)


@pytest.mark.parametrize("many_rows", [0, MANY_ROWS])
def test_several_labels_are_one_binary_scikit_learn_head_each(many_rows: int) -> None:
    from sklearn.linear_model import LogisticRegression

    targets = np.asarray(np.random.default_rng(0).random((N, 3)) < [0.5, 0.2, 0.05], dtype=np.float32)
    weights, biases = solve(VECTORS, [Heads(targets, WEIGHTS[None])], multiple=True, many_rows=many_rows)
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
    fit = Logistic().fit(TrainingSet(np.ones((60, 5), np.float32), soft, np.ones(60, np.float32), ONE_CHOICE), 0)
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
    np.testing.assert_allclose(weights[1] / weights[0], MAX_LIFT / (500 / 998), rtol=1e-4)
    np.testing.assert_allclose(lifted.sum(axis=1), mass.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_slope_and_offsets_that_made_the_labels_are_found(multiple: bool, true: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=2.0, size=(4000, 3)).astype(np.float32)
    shift = np.array([-1.5, 1.0, 0.5], dtype=np.float32)
    shares = probabilities(logits + shift, multiple)
    if multiple:
        targets = (generator.random(shares.shape) < shares).astype(np.float32)
    else:
        targets = np.eye(3, dtype=np.float32)[[generator.choice(3, p=row / row.sum()) for row in shares.astype(float)]]
    slope, offset = fit_calibration(np.asarray(logits * np.float32(true)), targets, np.ones(4000, np.float32), multiple)
    assert slope.shape == ((3,) if multiple else (1,)) and offset.shape == (3,)
    np.testing.assert_allclose(slope * true, 1.0, atol=0.1)
    np.testing.assert_allclose(offset, shift, atol=0.2)


@pytest.mark.parametrize("multiple", [False, True])
def test_few_rows_hardly_change_the_logits(multiple: bool) -> None:
    logits, targets = np.array([[3.0, -3.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    slope, offset = fit_calibration(logits, targets, np.ones(1, np.float32), multiple)
    assert (slope >= 1.0).all() and slope.max() < 1.2 and np.abs(offset).max() < 0.2
    slope, offset = fit_calibration(logits, targets, np.zeros(1, np.float32), multiple)
    np.testing.assert_array_equal(slope, 1.0)
    np.testing.assert_array_equal(offset, 0.0)


@given(
    st.integers(1, 60), st.integers(1, 5), st.booleans(), st.sampled_from([0.0, 0.1, 5.0, 1000.0]), st.integers(0, 9)
)
@settings(max_examples=80, deadline=None)
def test_calibration_never_lowers_the_likelihood_of_the_rows_it_is_fitted_on(
    n: int, c: int, multiple: bool, scale: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    logits = (generator.normal(size=(n, c)) * scale).astype(np.float32)
    targets = np.eye(c, dtype=np.float32)[generator.integers(0, c, n)]
    slope, offset = fit_calibration(logits, targets, np.ones(n, np.float32), multiple)

    def cost(z: Floats) -> float:
        z = z.astype(np.float64)
        if multiple:
            return float((np.logaddexp(0, z) - targets * z).sum())
        return float((np.logaddexp.reduce(z, axis=1) - (targets * z).sum(axis=1)).sum())

    assert np.isfinite(offset).all() and (slope > 0).all()
    assert cost(logits * slope + offset) <= cost(logits) * (1 + 1e-5) + 1e-3


def test_extreme_logits_stay_finite() -> None:
    for multiple in (False, True):
        answers = probabilities(np.array([[1e4, -1e4, 0.0]], np.float32), multiple)
        assert np.isfinite(answers).all()


def test_prediction_works_chunk_by_chunk() -> None:
    learner = Logistic()
    tensors = learner.fit(TrainingSet(VECTORS, TARGETS, WEIGHTS, ONE_CHOICE), 0).tensors
    copies = 2 * CHUNK_ROWS // len(VECTORS) + 1
    expected = np.tile(learner.predict(tensors, VECTORS), (copies, 1))
    np.testing.assert_allclose(learner.predict(tensors, np.tile(VECTORS, (copies, 1))), expected, atol=1e-6)


def drawn(bias: list[float], multiple: bool, strength: float, n: int = 4300, dim: int = 64) -> tuple[Floats, Floats]:
    """Unit vectors, and labels drawn from a logistic truth that is `strength` strong: some labels are rare."""
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(n, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = vectors @ generator.normal(size=(dim, 3)) * strength + bias
    noise = generator.logistic(size=(n, 3)) if multiple else generator.gumbel(size=(n, 3))
    noisy = logits + noise
    targets = noisy > 0 if multiple else noisy == noisy.max(axis=1, keepdims=True)
    return vectors.astype(np.float32), targets.astype(np.float32)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("strength", [1.5, 4.0])
def test_rare_labels_are_weighted_but_their_probabilities_are_honest(multiple: bool, strength: float) -> None:
    vectors, targets = drawn([-5.0, -2.5, 0.0] if multiple else [3.0, 1.0, 0.0], multiple, strength)
    train = TrainingSet(vectors[:300], targets[:300], np.ones(300, np.float32), plain_choices(multiple))
    fit = Logistic().fit(train, 0)
    answers, truth = Logistic().predict(fit.tensors, vectors[300:]), targets[300:]
    np.testing.assert_allclose(answers.mean(axis=0), truth.mean(axis=0), atol=0.06)
    np.testing.assert_allclose(fit.held_out.mean(axis=0), train.targets.mean(axis=0), atol=0.03)
    rare = int(truth.mean(axis=0).argmin())
    sure = answers[:, rare] > 0.4
    assert sure.mean() < 0.03 or truth[sure, rare].mean() > 0.25


@pytest.mark.parametrize("held", [0.0, 1.0])
def test_a_label_that_always_or_never_holds_keeps_a_moderate_probability(held: float) -> None:
    targets = np.column_stack([TARGETS[:, 0], np.full(N, held, dtype=np.float32)])
    for n in (1, 5, 25, N):
        fit = Logistic().fit(TrainingSet(VECTORS[:n], targets[:n], np.ones(n, np.float32), SEVERAL_CHOICES), 0)
        off = np.abs(Logistic().predict(fit.tensors, VECTORS)[:, 1] - held)
        assert off.min() > 1e-4 and off.max() < (0.5 if n < 25 else 0.2)


def test_held_out_probabilities_of_the_earlier_targets_are_calibrated_too() -> None:
    vectors, targets = drawn([-4.0, -2.0, 0.0], True, 1.5, n=300)
    earlier = np.where(np.arange(300)[:, None] < 200, targets, np.nan).astype(np.float32)
    fit = Logistic().fit(TrainingSet(vectors, targets, np.ones(300, np.float32), SEVERAL_CHOICES, earlier), 0)
    assert fit.held_out_earlier is not None
    for answers, rows in ((fit.held_out, 300), (fit.held_out_earlier, 200)):
        np.testing.assert_allclose(answers[:rows].mean(axis=0), targets[:rows].mean(axis=0), atol=0.04)
