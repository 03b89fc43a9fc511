"""The AUC of pairs, compared with the comparison of each two texts and with a bootstrap of the pairs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml_backend.evaluation.paired_auc import paired_auc


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_it_is_the_share_of_comparisons_that_are_right(decimals: int) -> None:
    random = np.random.default_rng(decimals)
    positives, negatives = random.normal(0.8, 1, 40).round(decimals), random.normal(0, 1, 40).round(decimals)
    expected = roc_auc_score(np.arange(80) < 40, np.concatenate([positives, negatives]))
    assert paired_auc(positives, negatives).value == pytest.approx(expected)


def test_its_interval_is_that_of_a_bootstrap_of_the_pairs() -> None:
    random = np.random.default_rng(0)
    shared = random.normal(0, 1, 150)
    positives, negatives = shared + random.normal(1, 1, 150), shared + random.normal(0, 1, 150)
    estimate = paired_auc(positives, negatives)
    draws = random.integers(0, 150, (2000, 150))
    values = [paired_auc(positives[rows], negatives[rows]).value for rows in draws]
    np.testing.assert_allclose([estimate.low, estimate.high], np.quantile(values, [0.025, 0.975]), atol=0.015)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_auc_without_errors_has_an_interval(sign: int) -> None:
    few = paired_auc(sign * np.ones(5), np.zeros(5))
    many = paired_auc(sign * np.ones(500), np.zeros(500))
    assert few.value == many.value == (sign > 0)
    assert 0 < many.high - many.low < few.high - few.low < 1
