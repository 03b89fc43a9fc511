"""Heads from distillation: worth hundreds of labels if the teacher is good, and left out if it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from schemas import ONE_CHOICE, SEVERAL_CHOICES, plain_choices

from ml_backend.core.arrays import DistillationData, Floats, PseudoLabels, Tensors, TrainingSet
from plugins.learners.calibration import probabilities
from plugins.learners.logistic import Logistic
from plugins.learners.multi_head_logistic import BIAS_SCALE, MANY_ROWS, MAX_LIFT, C, Head, Heads, solve
from plugins.learners.priors import MIN_STANDARD_ERRORS, NO_PRIOR, RIDGES, SCALES, best_guess, choose

CLASSES, DIM = 5, 24


class World:
    """Topics with a label each, a pool of their texts, and the true labels."""

    def __init__(self, seed: int = 0, multiple: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        topics = self.random.normal(size=(20, DIM))
        topic = self.random.integers(0, 20, 900)
        vectors = topics[topic] + 0.5 * self.random.normal(size=(900, DIM))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        self.labels = topic % CLASSES
        self.targets = np.eye(CLASSES, dtype=np.float32)[self.labels]
        if multiple:
            self.targets = np.maximum(self.targets, np.roll(self.targets, 1, axis=1) * (topic % 2)[:, None])
        self.multiple = multiple
        self.test = np.arange(600, 900)

    def teacher(self, wrong_share: float) -> PseudoLabels:
        """Labels 200 tasks with full weight; a share of the labels is wrong."""
        rows = np.arange(200)
        targets = self.targets[rows].copy()
        is_wrong = self.random.random(200) < wrong_share
        targets[is_wrong] = np.roll(targets[is_wrong], 1, axis=1)
        return PseudoLabels(self.vectors[rows], targets, np.ones(200, np.float32))

    def data(self, wrong_share: float | None = 0.1, cues: bool = False) -> DistillationData:
        none = PseudoLabels(self.vectors[:0], self.targets[:0], np.zeros(0, np.float32))
        few = PseudoLabels(self.vectors[200:220], self.targets[200:220], np.full(20, 0.8, np.float32))
        return DistillationData(
            none if wrong_share is None else self.teacher(wrong_share),
            few if cues else none,
            self.vectors[:600],
            ONE_CHOICE,
        )

    def train(self, n: int, priors: dict[str, dict[str, npt.NDArray[Any]]] | None = None) -> TrainingSet:
        rows = self.random.choice(np.arange(220, 600), n, replace=False)
        return TrainingSet(
            self.vectors[rows],
            self.targets[rows],
            np.ones(n, np.float32),
            plain_choices(self.multiple),
            priors=priors or {},
        )

    def accuracy(self, probabilities: Floats) -> float:
        if self.multiple:
            return float(((probabilities >= 0.5) == (self.targets[self.test] > 0.5)).mean())
        return float((probabilities.argmax(axis=1) == self.labels[self.test]).mean())


@pytest.mark.parametrize("multiple", [False, True])
def test_a_good_teacher_is_worth_many_labels(multiple: bool) -> None:
    world, learner = World(multiple=multiple), Logistic()
    priors = learner.distil(world.data(cues=True), 0)
    assert set(priors) == {"cues", "labels", "labels and cues"}
    train = world.train(15, priors)
    taught = learner.fit(train, 0)
    alone = learner.fit(TrainingSet(train.vectors, train.targets, train.weights, plain_choices(multiple)), 0)
    assert taught.prior and taught.prior_errors[taught.prior] < 1 and taught.prior_errors[NO_PRIOR] == 1
    assert (alone.prior, alone.prior_errors) == ("", {})
    probabilities_by_fit = [learner.predict(fit.tensors, world.vectors[world.test]) for fit in (taught, alone)]
    assert world.accuracy(probabilities_by_fit[0]) > world.accuracy(probabilities_by_fit[1]) + 0.05


@pytest.mark.parametrize("n", [25, 60, 150])
def test_a_teacher_that_is_mostly_wrong_does_no_harm(n: int) -> None:
    harm = []
    for seed in range(4):
        world, learner = World(seed), Logistic()
        train = world.train(n, learner.distil(world.data(wrong_share=1.0), 0))
        taught = learner.fit(train, 0)
        alone = learner.fit(TrainingSet(train.vectors, train.targets, train.weights, ONE_CHOICE), 0)
        probabilities_by_fit = [learner.predict(fit.tensors, world.vectors[world.test]) for fit in (taught, alone)]
        harm.append(world.accuracy(probabilities_by_fit[1]) - world.accuracy(probabilities_by_fit[0]))
    assert np.mean(harm) < 0.01


@pytest.mark.parametrize("n", [15, 25])
def test_a_prior_that_is_right_only_about_how_rare_labels_are_is_left_out(n: int) -> None:
    """Each of six labels holds in 8 % of the rows; the teacher's labels are all wrong, with the right frequencies."""
    random = np.random.default_rng(n)
    c, rows = 6, 600
    targets = (random.random((rows, c)) < 0.08).astype(np.float32)
    vectors = targets @ random.normal(size=(c, DIM)) + 0.3 * random.normal(size=(rows, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    wrong = PseudoLabels(vectors[:200], np.roll(targets[:200], 1, axis=1), np.ones(200, np.float32))
    none = PseudoLabels(vectors[:0], targets[:0], np.zeros(0, np.float32))
    priors = Logistic().distil(DistillationData(wrong, none, vectors, ONE_CHOICE), 0)
    train = TrainingSet(
        vectors[200 : 200 + n], targets[200 : 200 + n], np.ones(n, np.float32), SEVERAL_CHOICES, priors=priors
    )
    assert Logistic().fit(train, 0).prior == ""


def test_without_data_there_is_no_prior() -> None:
    assert Logistic().distil(World().data(wrong_share=None), 0) == {}


def test_the_same_data_and_seed_give_the_same_prior() -> None:
    data, learner = World().data(cues=True), Logistic()
    first, second = learner.distil(data, 3), learner.distil(data, 3)
    for name, parts in first.items():
        assert all(np.array_equal(array, second[name][part]) for part, array in parts.items())


@pytest.mark.parametrize("multiple", [False, True])
def test_a_head_without_rows_is_its_prior(multiple: bool, rng: np.random.Generator) -> None:
    world = World(multiple=multiple)
    prior = Head(rng.normal(size=(DIM, CLASSES)).astype(np.float32), rng.normal(size=CLASSES).astype(np.float32))
    no_rows = Heads(world.targets[:30], np.zeros((1, 30), np.float32))
    weights, biases = solve(world.vectors[:30], [no_rows], multiple, prior)
    assert weights[0] == pytest.approx(prior.weight, abs=1e-4)
    assert biases[0] == pytest.approx(prior.bias, abs=1e-4)


@pytest.mark.parametrize("many", [0, MANY_ROWS])
def test_the_head_is_the_minimum_of_loss_and_distance_to_the_prior(rng: np.random.Generator, many: int) -> None:
    """Compared with scipy's minimum of the formula; the labels are as frequent as each other, so none is lifted."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, d, c = 24, 4, 3
    x = rng.normal(size=(n, d)).astype(np.float32)
    t = np.eye(c, dtype=np.float32)[np.arange(n) % c]
    prior = Head(rng.normal(size=(d, c)).astype(np.float32), rng.normal(size=c).astype(np.float32))
    mean = x.mean(axis=0)

    def loss(theta: npt.NDArray[Any]) -> float:
        w, b = theta[: d * c].reshape(d, c), theta[d * c :]
        logits = (x - mean) @ w + BIAS_SCALE * b + prior.logits(x)
        return float(-(t * log_softmax(logits, axis=1)).sum() + np.square(theta).sum() / (2 * C))

    best = minimize(loss, np.zeros((d + 1) * c), method="BFGS", options={"gtol": 1e-6}).x
    w = best[: d * c].reshape(d, c)
    weights, biases = solve(x, [Heads(t, np.ones((1, n), np.float32))], False, prior, many_rows=many)
    assert weights[0] == pytest.approx(w + prior.weight, abs=0.02)
    assert biases[0] == pytest.approx(BIAS_SCALE * best[d * c :] - mean @ w + prior.bias, abs=0.02)


@given(n=st.integers(3, 40), multiple=st.booleans(), seed=st.integers(0, 50))
@settings(max_examples=25)
def test_the_choice_equals_that_of_explicit_leave_one_out(n: int, multiple: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    d, c = 6, 3
    x = random.normal(size=(n, d)).astype(np.float32)
    t = (
        (random.random((n, c)) < 0.4).astype(np.float32)
        if multiple
        else np.eye(c, dtype=np.float32)[random.integers(0, c, n)]
    )
    weights = random.random(n).astype(np.float32) + 0.1
    priors = {
        name: Head(2 * random.normal(size=(d, c)).astype(np.float32), np.zeros(c, np.float32)) for name in ("a", "b")
    }
    lifted_weights = weights
    if not multiple:
        mass = weights @ t
        lift = np.minimum(mass[mass > 0].mean() / np.maximum(mass, 1e-12), MAX_LIFT) * (mass > 0)
        lifted_weights = weights * (t @ lift) * mass.sum() / (lift @ mass)
    features = np.hstack([x - x.mean(axis=0), np.full((n, 1), BIAS_SCALE)]).astype(np.float64)

    def rows_left_out(guess: Floats) -> Floats:
        residuals = (t - guess).astype(np.float64)
        best = np.full(n, np.inf)
        for ridge in RIDGES:
            errors = np.empty(n)
            for row in range(n):
                others = np.arange(n) != row
                gram = features[others].T @ features[others] + ridge * np.eye(d + 1)
                solved = np.linalg.solve(gram, features[others].T @ residuals[others])
                errors[row] = np.square(residuals[row] - features[row] @ solved).sum()
            best = min(best, errors, key=lambda candidate: float(lifted_weights @ candidate))
        return best

    def left_out(guess: Floats) -> float:
        return float(lifted_weights @ rows_left_out(guess) / lifted_weights.sum())

    guess = np.full((n, c), 1 / c, np.float32)
    if multiple:  # how often each label holds in the other rows, and in two that are even
        for row in range(n):
            others = np.arange(n) != row
            guess[row] = (weights[others] @ t[others] + 1) / (weights[others].sum() + 2)
    none = left_out(guess)
    expected = {
        (name, scale): left_out(probabilities(head.scaled(scale).logits(x), multiple))
        for name, head in priors.items()
        for scale in SCALES
    }
    name, scale, prior_errors = choose(x, t, weights, priors, multiple)
    assert prior_errors[NO_PRIOR] == 1.0
    for prior in priors:
        least = min(expected[prior, scale] for scale in SCALES)
        assert prior_errors[prior] == pytest.approx(least / none, rel=2e-3)
    current, errors = (NO_PRIOR, 0.0), rows_left_out(guess)
    shares = lifted_weights / lifted_weights.sum()
    for prior, head in priors.items():
        rival = min(((prior, scale) for scale in SCALES), key=lambda pair: expected[pair])
        others = rows_left_out(probabilities(head.scaled(rival[1]).logits(x), multiple))
        improvements = errors - others
        standard_error = float(np.sqrt(np.square(shares) @ np.square(improvements - shares @ improvements)))
        assume(abs(shares @ improvements - MIN_STANDARD_ERRORS * standard_error) > 2e-3)
        if shares @ improvements > MIN_STANDARD_ERRORS * standard_error:
            current, errors = rival, others
    assert (name == NO_PRIOR) == (current[0] == NO_PRIOR), "it must be better by more than chance"
    assert name == NO_PRIOR or expected[name, scale] == pytest.approx(expected[current], rel=2e-3)


def test_the_earlier_learner_is_cross_validated_with_its_own_prior() -> None:
    """An uninformative teacher replaced a good one: the gate has to see the loss."""
    world, learner = World(), Logistic()
    train = world.train(20, learner.distil(world.data(wrong_share=0.0), 0))
    before = learner.fit(train, 0)
    after = learner.fit(replace(train, priors={}, earlier=train.targets, earlier_tensors=before.tensors), 0)
    assert before.prior == "labels" and after.prior == "" and after.held_out_earlier is not None
    assert after.held_out_earlier == pytest.approx(before.held_out, abs=0.02)
    accuracies = [
        (held_out.argmax(axis=1) == train.targets.argmax(axis=1)).mean()
        for held_out in (after.held_out, before.held_out)
    ]
    assert accuracies[1] > accuracies[0]


def test_rows_outside_the_prior_selection_mask_are_fitted_but_do_not_choose_the_prior(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 5)).astype(np.float32)
    y = np.eye(2, dtype=np.float32)[(x[:, 0] > 0).astype(int)]
    wrong: dict[str, Tensors] = {
        "cues": {"weight": np.array([[9, -9]] + [[0, 0]] * 4, np.float32), "bias": np.zeros(2, np.float32)}
    }
    targets = np.concatenate([y[:20], 1 - y[20:]])  # the last 40 repeat what the prior says
    everything = TrainingSet(x, targets, np.ones(60, np.float32), ONE_CHOICE, priors=wrong)
    judged = replace(everything, prior_selection_mask=np.arange(60) < 20)
    fit = Logistic().fit(everything, seed=0), Logistic().fit(judged, seed=0)
    assert fit[0].prior_errors["cues"] < 1 < fit[1].prior_errors["cues"] or fit[0].prior != fit[1].prior
    alone = TrainingSet(x[:20], y[:20], np.ones(20, np.float32), ONE_CHOICE, priors=wrong)
    assert fit[1].prior_errors == pytest.approx(Logistic().fit(alone, seed=0).prior_errors, rel=1e-4)
    assert not np.allclose(fit[1].tensors["weight"], Logistic().fit(alone, seed=0).tensors["weight"])


def test_rows_without_weight_do_not_choose_the_prior() -> None:
    """In a retrospective replay, they are annotations of a later time."""
    world, learner = World(), Logistic()
    train = world.train(60, learner.distil(world.data(cues=True), 0))
    heads = {name: Head(**tensors) for name, tensors in train.priors.items()}  # type: ignore[arg-type]
    for n in (5, 15, 30):
        weights = (np.arange(60) < n).astype(np.float32)
        expected = choose(train.vectors[:n], train.targets[:n], weights[:n], heads, False)
        assert choose(train.vectors, train.targets, weights, heads, False) == expected
    assert choose(train.vectors, train.targets, np.zeros(60, np.float32), heads, False) == (NO_PRIOR, 0.0, {})


def test_a_prior_that_is_better_by_chance_does_not_replace_one_that_is_surely_better() -> None:
    """The lower of two errors may be lower by chance: then the other prior is chosen."""
    n = 40
    errors = np.full((3, n), 1.0)
    errors[1] = 0.8  # surely better
    errors[2, 0], errors[2, 1:] = -9.0, 1.03  # better by more, and that by a single row
    shares = np.full(n, 1 / n)
    assert errors[2] @ shares < errors[1] @ shares < 1
    assert best_guess(errors, shares, ["sure", "lucky"], [NO_PRIOR, "sure", "lucky"]) == 1
