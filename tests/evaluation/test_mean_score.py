"""The mean of scores with weights, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.types import EstimateSource
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY, mean_score, wilson_interval

SOURCE = EstimateSource.GROUP
rows = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30)


def test_without_weights_the_interval_is_that_of_a_share() -> None:
    scores = np.array([1.0, 0.0, 1.0])
    assert mean_score(scores, None, SOURCE) == wilson_interval(2.0, 3, SOURCE)
    assert mean_score(scores, np.zeros(3), SOURCE) == wilson_interval(2.0, 3, SOURCE), "no row has any part"
    assert mean_score(scores[:0], None, SOURCE) is mean_score(scores[:0], np.zeros(0), SOURCE) is None


@given(rows)
def test_the_interval_is_around_the_weighted_mean(pairs: list[tuple[float, int]]) -> None:
    scores, weights = np.array(pairs, np.float64).T
    estimate = mean_score(scores, weights, SOURCE)
    assert estimate is not None and estimate.n == len(pairs)
    assert 0 <= estimate.low <= estimate.high <= 1
    assert estimate == mean_score(scores, weights, SOURCE), "deterministic"
    if weights.any():
        assert estimate.value == pytest.approx(np.average(scores, weights=weights))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_do_not_make_a_point_of_the_interval(value: float) -> None:
    estimate = mean_score(np.full(20, value), np.arange(20, dtype=np.float64), SOURCE)
    share = wilson_interval(19 * value, 19, SOURCE)
    assert estimate is not None and share is not None
    assert (estimate.value, estimate.low, estimate.high) == (value, share.low, share.high)


def test_the_interval_holds_the_true_value_about_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(2), 0
    for _ in range(200):
        weights = random.poisson(3, 60).astype(np.float64)
        right = random.binomial(weights.astype(np.int64), 0.6)
        scores = np.divide(right, weights, out=np.ones(60), where=weights > 0)
        estimate = mean_score(scores, weights, SOURCE)
        held += estimate is not None and estimate.low <= 0.6 <= estimate.high
    assert 0.9 <= held / 200 <= 0.99


def test_only_the_audit_sample_is_weighted_once_it_is_large_enough() -> None:
    tasks, audited = np.arange(50), np.arange(MIN_ANSWERS_FOR_ACCURACY)
    scores = np.where(tasks < MIN_ANSWERS_FOR_ACCURACY, tasks % 2, 0.0)
    weights = np.where(tasks % 2, 3.0, 1.0)
    estimate = audit_sample.estimate_accuracy(scores, tasks, audited, weights)
    assert estimate is not None and (estimate.value, estimate.n) == (0.75, MIN_ANSWERS_FOR_ACCURACY)
    assert estimate.source == EstimateSource.AUDIT_SAMPLE_CROSS_VALIDATED
