"""The hidden layer beside LAAT's linear head: it fits labels that are not linearly separable, and keeps the mean
gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from schemas import ONE_CHOICE, plain_choices

from ml_backend.core.arrays import Floats, TrainingSet
from ml_backend.core.schema import takes_several_labels
from plugins.learners import mlp
from plugins.learners.calibration import cross_entropy
from plugins.learners.laat import Laat
from plugins.learners.mlp import INPUT, OUTPUT, Mlp, fitted_units, unit_logits_of


def rings(n: int, seed: int = 0, multiple: bool = False) -> TrainingSet:
    """Records whose label depends on their distance from the origin: labels that are not linearly separable."""
    random = np.random.default_rng(seed)
    x = np.asarray(random.normal(size=(n, 5)).astype(np.float32) / 3, np.float32)
    y = (np.hypot(x[:, 0], x[:, 1]) > 0.4).astype(int)
    return TrainingSet(x, np.eye(2, dtype=np.float32)[y], np.ones(n, np.float32), plain_choices(multiple))


def loss(train: TrainingSet, probabilities: Floats) -> float:
    return float(cross_entropy(probabilities, train.targets, takes_several_labels(train.control)).mean())


@pytest.mark.parametrize("multiple", [False, True])
def test_units_fit_labels_that_are_not_linearly_separable_and_their_held_out_probabilities_are_honest(
    multiple: bool,
) -> None:
    train, test = rings(300, multiple=multiple), rings(1000, seed=1, multiple=multiple)
    linear, fitted = Laat().fit(train, 0), Mlp().fit(train, 0)
    linear_loss = loss(test, Laat().predict(linear.tensors, test.vectors))
    fitted_loss = loss(test, Mlp().predict(fitted.tensors, test.vectors))
    assert fitted_loss < 0.7 * linear_loss
    assert loss(train, fitted.held_out) == pytest.approx(fitted_loss, rel=0.3)


def test_units_add_nothing_where_labels_are_linearly_separable() -> None:
    random = np.random.default_rng(0)
    x = np.asarray(random.normal(size=(300, 5)).astype(np.float32) / 3, np.float32)
    y = (x[:, 0] + 0.3 * random.normal(size=300) > 0).astype(int)
    train = TrainingSet(x, np.eye(2, dtype=np.float32)[y], np.ones(300, np.float32), ONE_CHOICE)
    linear, fitted = Laat().fit(train, 0), Mlp().fit(train, 0)
    assert loss(train, fitted.held_out) <= loss(train, linear.held_out), "a share of none is one of the choices"
    test = np.asarray(random.normal(size=(500, 5)).astype(np.float32) / 3, np.float32)
    difference = Mlp().predict(fitted.tensors, test) - Laat().predict(linear.tensors, test)
    assert np.abs(difference).mean() < 0.05


def gradient(units: dict[str, Floats], x: Floats) -> Floats:
    """Returns the gradient (d, c) of the mean logits by the inputs, by finite differences."""
    step = 1e-2
    rows = [
        (unit_logits_of(units, x + step * unit) - unit_logits_of(units, x - step * unit)).mean(axis=0) / (2 * step)
        for unit in np.eye(x.shape[1], dtype=np.float32)
    ]
    return np.array(rows, np.float32)


def test_stronger_attribution_matching_lowers_the_gradient_of_the_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    train = rings(200)
    labels = (train.vectors[:, 2] + 0.1 * random.normal(size=200) > 0).astype(
        int
    )  # linearly separable, but the offset logits are zeros
    targets = np.eye(2, dtype=np.float32)[labels]
    squared_gradients = []
    for gamma in (0.0, 100.0, 1e6):
        monkeypatch.setattr(mlp, "GAMMA", gamma)
        rows = np.ones((1, 200), np.float32)
        (units,) = fitted_units(train.vectors, targets, rows, np.zeros((200, 2), np.float32), False, seed=0)
        squared_gradients.append(float(np.square(gradient(units, train.vectors)).sum()))
    assert squared_gradients[0] > 2 * squared_gradients[1] > 20 * squared_gradients[2]


def test_each_set_of_row_weights_is_fitted_independently() -> None:
    train = rings(120)
    rows = np.ones((2, 120), np.float32)
    rows[1, 60:] = 0
    offset = np.zeros((120, 2), np.float32)
    whole, half = fitted_units(train.vectors, train.targets, rows, offset, False, seed=0)
    (alone,) = fitted_units(train.vectors[:60], train.targets[:60], rows[:1, :60], offset[:60], False, seed=0)
    for name in (INPUT, OUTPUT):
        np.testing.assert_allclose(half[name], alone[name], atol=2e-3)
        assert not np.allclose(half[name], whole[name], atol=2e-2)


def test_rows_that_count_twice_are_as_good_as_two() -> None:
    train = rings(80)
    twice = replace(
        train,
        vectors=np.vstack([train.vectors, train.vectors[:40]]),
        targets=np.vstack([train.targets, train.targets[:40]]),
        weights=np.ones(120, np.float32),
    )
    weights = np.where(np.arange(80) < 40, 2, 1).astype(np.float32)
    offset = np.zeros((120, 2), np.float32)
    (weighted,) = fitted_units(train.vectors, train.targets, weights[None], offset[:80], False, seed=0)
    (repeated,) = fitted_units(twice.vectors, twice.targets, twice.weights[None], offset, False, seed=0)
    np.testing.assert_allclose(weighted[INPUT], repeated[INPUT], atol=2e-3)
