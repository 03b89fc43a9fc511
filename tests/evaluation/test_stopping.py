"""Stable predictions against scikit-learn, the forecast against scipy and against known curves, and the advice."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemas import choices_control
from scipy.optimize import curve_fit
from sklearn.metrics import cohen_kappa_score

from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY
from ml_backend.evaluation.stopping import (
    FORECAST_LABELS,
    MIN_STABLE_AGREEMENT,
    MIN_USEFUL_GAIN,
    Gain,
    Stability,
    advise_on_stopping,
    forecast_gains,
    kappa,
    measure_stability,
    power_law,
)
from ml_backend.kinds.choices.kind import CHOICES

SIZES = np.array([20, 43, 92, 198, 425])


@given(n=st.integers(1, 60), c=st.integers(1, 5), seed=st.integers(0, 10_000))
@hypothesis_settings(max_examples=60)
def test_kappa_is_scikits_but_for_raters_that_know_one_answer(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.integers(0, c, (2, n))
    if len(np.unique([first, second])) == 1:
        assert kappa(first, second) == 0.0
    else:
        assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_predictions_settle_when_the_mean_of_the_agreements_reaches_the_threshold(rng: np.random.Generator) -> None:
    predictions = np.tile(rng.integers(0, 4, 1000), (4, 1))
    predictions[0, :30] = (predictions[0, :30] + 1) % 4
    result = measure_stability([*predictions], kappa)
    assert result is not None
    assert result.agreements[1:] == (1.0, 1.0)
    assert result.mean == pytest.approx((cohen_kappa_score(predictions[0], predictions[1]) + 2) / 3)
    assert not result.is_stable
    assert result.mean == pytest.approx(MIN_STABLE_AGREEMENT, abs=0.005)
    predictions[0, :15] = predictions[1, :15]
    settled = measure_stability([*predictions], kappa)
    assert settled is not None and settled.is_stable


def test_several_labels_agree_in_all_their_decisions(rng: np.random.Generator) -> None:
    predictions = rng.random((2, 50, 3)) < 0.3
    agreement = partial(CHOICES.agreement, choices_control("abc", multiple=True))
    result = measure_stability([*predictions.astype(np.float32)], agreement)
    assert result is not None
    expected = cohen_kappa_score(predictions[0].ravel(), predictions[1].ravel())
    assert result.agreements == pytest.approx((expected,))


@given(seed=st.integers(0, 10_000))
@hypothesis_settings(max_examples=12)
def test_the_power_law_is_the_best_that_scipy_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    accuracy = np.clip(0.9 - 2.0 * SIZES ** -random.uniform(0.2, 1.2) + random.normal(0, 0.03, 5), 0, 1)
    weights = np.arange(1, 6) / 5

    def law(size: npt.NDArray[Any], a: float, b: float, c: float) -> npt.NDArray[Any]:
        return np.asarray(a - b * size**-c)

    def error(a: float, b: float, c: float) -> float:
        return float(weights @ np.square(law(SIZES, a, b, c) - accuracy))

    scipy_error = min(
        error(*curve_fit(law, SIZES, accuracy, start, 1 / np.sqrt(weights), bounds=((-9, -9, 0.025), (1, 9, 1.5)))[0])
        for start in ((0.9, 2, 0.5), (0.5, 1, 1.0), (0.99, 1, 0.1))
    )
    a, b, c = (float(parameter[0]) for parameter in power_law(SIZES, accuracy[None]))
    assert a <= 1
    assert 0 < c <= 1.5
    assert error(a, b, c) <= scipy_error + 1e-4  # the grid of c


def test_a_curve_without_noise_is_forecast_as_it_goes_on() -> None:
    for a, b, c in ((0.9, 2.0, 0.6), (0.8, 1.0, 0.4), (0.95, 3.0, 1.0)):
        rows = 10_000
        right = (np.arange(rows) < (a - b * SIZES[:, None] ** -c) * rows).astype(np.float64)
        for gain in forecast_gains(SIZES, right):
            assert gain.value == pytest.approx(b * (425.0**-c - (425.0 + gain.labels) ** -c), abs=0.002)
            assert gain.low <= gain.value <= gain.high


def test_the_interval_holds_what_comes_in_most_samples_of_rows(rng: np.random.Generator) -> None:
    gain = 425.0**-0.5 - 525.0**-0.5
    covered = []
    for _ in range(60):
        difficulty = rng.random(150)  # the same rows at every size: an easy one stays easy
        forecast_gain = forecast_gains(SIZES, (difficulty < (0.9 - SIZES[:, None] ** -0.5)).astype(np.float64))[-1]
        covered.append(forecast_gain.low <= gain <= forecast_gain.high)
    assert np.mean(covered) > 0.85


def test_it_is_forecast_only_from_enough_and_not_beyond_twice_what_there_is(rng: np.random.Generator) -> None:
    right = (rng.random((5, MIN_ANSWERS_FOR_ACCURACY)) < 0.7).astype(np.float64)
    assert [gain.labels for gain in forecast_gains(SIZES, right)] == list(FORECAST_LABELS)
    assert [gain.labels for gain in forecast_gains(np.array([20, 28, 39, 55, 99]), right)] == [50]
    assert forecast_gains(np.array([20, 25, 30, 35, 49]), right) == ()
    assert forecast_gains(SIZES, right[:, 1:]) == ()
    assert forecast_gains(SIZES[-3:], right[-3:]) == ()


def test_a_learner_that_is_always_right_gains_nothing() -> None:
    for gain in forecast_gains(SIZES, np.ones((5, 40), bool)):
        assert (gain.value, gain.low, gain.high) == pytest.approx((0, 0, 0), abs=1e-9)


@pytest.mark.parametrize(
    ("is_stable", "value", "high", "verdict"),
    [
        (True, 0.003, MIN_USEFUL_GAIN - 0.001, "stop"),
        (True, MIN_USEFUL_GAIN, 0.05, "disagree"),
        (True, 0.003, MIN_USEFUL_GAIN, "too early"),
        (False, 0.003, MIN_USEFUL_GAIN - 0.001, "disagree"),
        (False, MIN_USEFUL_GAIN, 0.05, "go on"),
        (False, 0.003, MIN_USEFUL_GAIN, "go on"),
    ],
)
def test_both_criteria_make_one_verdict(is_stable: bool, value: float, high: float, verdict: str) -> None:
    prediction_stability = Stability((0.994,) * 3, 0.994, is_stable)
    gains = (Gain(50, 0, 0, 0), Gain(100, value, -0.005, high))
    assert advise_on_stopping(prediction_stability, gains) == verdict


def test_it_is_too_early_without_both_criteria() -> None:
    prediction_stability = Stability((1.0,), 1.0, True)
    for verdict in (
        advise_on_stopping(None, (Gain(100, 0, 0, 0),)),
        advise_on_stopping(prediction_stability, ()),
        advise_on_stopping(prediction_stability, (Gain(50, 0, 0, 0),)),
    ):
        assert verdict == "too early"
