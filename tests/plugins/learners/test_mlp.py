"""The layer of units around LAAT's linear head: it bends what no line tells apart, and does not turn the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.core.types import Floats, TrainingSet
from plugins.learners import mlp
from plugins.learners.calibration import cross_entropy
from plugins.learners.laat import Laat
from plugins.learners.mlp import INPUT, OUTPUT, Mlp, _fitted, _units


def rings(n: int, seed: int = 0, multiple: bool = False) -> TrainingSet:
    """Records whose label is how far they are from the middle: no line tells them apart."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 5)).astype(np.float32) / 3
    y = (np.hypot(x[:, 0], x[:, 1]) > 0.4).astype(int)
    return TrainingSet(x, np.eye(2, dtype=np.float32)[y], np.ones(n, np.float32), multiple)


def loss(train: TrainingSet, said: Floats) -> float:
    return float(cross_entropy(said, train.targets, train.multiple).mean())


@pytest.mark.parametrize("multiple", [False, True])
def test_units_say_what_no_line_says_and_their_held_out_answers_are_honest(multiple: bool) -> None:
    train, test = rings(300, multiple=multiple), rings(1000, seed=1, multiple=multiple)
    straight, bent = Laat().fit(train, 0), Mlp().fit(train, 0)
    line = loss(test, Laat().predict(straight.tensors, test.vectors))
    found = loss(test, Mlp().predict(bent.tensors, test.vectors))
    assert found < 0.7 * line
    assert loss(train, bent.held_out) == pytest.approx(found, rel=0.3)


def test_where_a_line_is_all_there_is_nothing_is_added() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 5)).astype(np.float32) / 3
    y = (x[:, 0] + 0.3 * random.normal(size=300) > 0).astype(int)
    train = TrainingSet(x, np.eye(2, dtype=np.float32)[y], np.ones(300, np.float32), False)
    straight, bent = Laat().fit(train, 0), Mlp().fit(train, 0)
    assert loss(train, bent.held_out) <= loss(train, straight.held_out), "a share of none is one of the choices"
    test = random.normal(size=(500, 5)).astype(np.float32) / 3
    apart = Mlp().predict(bent.tensors, test) - Laat().predict(straight.tensors, test)
    assert np.abs(apart).mean() < 0.05


def gradient(units: dict[str, Floats], x: Floats) -> Floats:
    """(d, c) of the mean logits by the inputs, by finite differences."""
    step = 1e-2
    found = [
        (_units(units, x + step * unit) - _units(units, x - step * unit)).mean(axis=0) / (2 * step)
        for unit in np.eye(x.shape[1], dtype=np.float32)
    ]
    return np.array(found, np.float32)


def test_the_stronger_the_matching_of_attributions_the_less_do_units_turn_the_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    train = rings(200)
    slope = (train.vectors[:, 2] + 0.1 * random.normal(size=200) > 0).astype(int)  # a line, which the head is not told
    targets = np.eye(2, dtype=np.float32)[slope]
    turned = []
    for gamma in (0.0, 100.0, 1e6):
        monkeypatch.setattr(mlp, "GAMMA", gamma)
        rows = np.ones((1, 200), np.float32)
        (units,) = _fitted(train.vectors, targets, rows, np.zeros((200, 2), np.float32), False, seed=0)
        turned.append(float(np.square(gradient(units, train.vectors)).sum()))
    assert turned[0] > 2 * turned[1] > 20 * turned[2]


def test_each_set_of_rows_is_fitted_as_if_it_were_alone() -> None:
    train = rings(120)
    rows = np.ones((2, 120), np.float32)
    rows[1, 60:] = 0
    offset = np.zeros((120, 2), np.float32)
    whole, half = _fitted(train.vectors, train.targets, rows, offset, False, seed=0)
    (alone,) = _fitted(train.vectors[:60], train.targets[:60], rows[:1, :60], offset[:60], False, seed=0)
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
    (one,) = _fitted(train.vectors, train.targets, weights[None], offset[:80], False, seed=0)
    (other,) = _fitted(twice.vectors, twice.targets, twice.weights[None], offset, False, seed=0)
    np.testing.assert_allclose(one[INPUT], other[INPUT], atol=2e-3)
