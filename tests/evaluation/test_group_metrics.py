"""Accuracy by group, the gap between groups, and label shares, against enumeration and against simulation."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ml_backend.core.types import EstimateSource
from ml_backend.evaluation import group_metrics
from ml_backend.evaluation.group_metrics import ALPHA, MIN_ROWS_TO_COMPARE, class_balance, metrics_by_group


def rows(**right_of: tuple[int, int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """So many right out of so many rows for each named group."""
    right = np.concatenate([np.arange(n) < hits for hits, n in right_of.values()])
    return right, np.repeat(list(right_of), [n for _, n in right_of.values()])


def test_each_group_has_its_own_interval() -> None:
    metrics = metrics_by_group(*rows(north=(15, 20), south=(3, 30)))
    for name, hits, n in (("north", 15, 20), ("south", 3, 30)):
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        estimate = metrics.accuracy[name]
        assert (estimate.value, estimate.n) == (hits / n, n)
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_worst_group_comes_first_and_a_small_one_is_never_it() -> None:
    metrics = metrics_by_group(
        *rows(good=(45, 50), poor=(10, 40), lone=(0, 1), few=(0, MIN_ROWS_TO_COMPARE - 1), middle=(30, 50))
    )
    assert list(metrics.accuracy)[:3] == ["poor", "middle", "good"]
    assert set(list(metrics.accuracy)[3:]) == {"lone", "few"}
    assert metrics.gap == pytest.approx(0.9 - 0.25)
    assert metrics.best == "good"
    assert metrics.p_value is not None
    assert metrics.p_value < ALPHA


@pytest.mark.parametrize("sizes", [{}, {"only": (5, 20)}, {"only": (5, 20), "few": (0, MIN_ROWS_TO_COMPARE - 1)}])
def test_without_two_groups_of_some_size_nothing_is_compared(sizes: dict[str, tuple[int, int]]) -> None:
    right, group = rows(**sizes) if sizes else (np.zeros(0, bool), np.zeros(0, "U4"))
    metrics = metrics_by_group(right, group)
    assert set(metrics.accuracy) == set(sizes)
    assert (metrics.best, metrics.gap, metrics.p_value) == (None, None, None)


def test_the_chance_is_that_of_all_ways_to_deal_out_the_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_metrics, "MIN_ROWS_TO_COMPARE", 3)
    right, group = rows(a=(3, 3), b=(1, 4), c=(2, 5))
    metrics = metrics_by_group(right, group)
    gaps = [
        np.ptp([np.isin(np.flatnonzero(group == name), right_rows).mean() for name in "abc"])
        for right_rows in combinations(range(12), 6)
    ]
    assert len(gaps) == comb(12, 6)
    assert metrics.p_value == pytest.approx(np.mean(np.array(gaps) >= 0.75 - 1e-9), abs=0.04)


def test_the_chance_of_a_gap_between_mean_scores_is_that_of_all_ways_to_deal_out_the_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_metrics, "MIN_ROWS_TO_COMPARE", 3)
    scores = np.array([0.9, 1.0, 0.7, 0.75, 0.2, 0.4, 0.8, 0.0])
    metrics = metrics_by_group(scores, np.array([*"aaaabbbb"]))
    means = {name: estimate.value for name, estimate in metrics.accuracy.items()}
    assert means == {"b": pytest.approx(0.35), "a": pytest.approx(0.8375)} and [*means] == ["b", "a"]
    gaps = [
        abs(scores[list(rows)].mean() - np.delete(scores, rows).mean()) for rows in combinations(range(len(scores)), 4)
    ]
    assert metrics.p_value == pytest.approx(np.mean(np.array(gaps) >= 0.4875 - 1e-9), abs=0.02)


def test_groups_that_are_alike_are_seldom_said_to_differ(rng: np.random.Generator) -> None:
    group = np.repeat(list("abcdefgh"), 15)
    chances = [metrics_by_group((rng.random(120) < 0.7).astype(np.float64), group).p_value for _ in range(200)]
    assert np.mean([chance is not None and chance < ALPHA for chance in chances]) < 0.1


def test_groups_that_are_all_right_do_not_differ() -> None:
    metrics = metrics_by_group(*rows(a=(20, 20), b=(30, 30)))
    assert (metrics.gap, metrics.p_value) == (0.0, 1.0)


@given(targets=st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=3, max_size=3), max_size=12))
def test_a_label_is_counted_by_the_votes_it_has(targets: list[list[float]]) -> None:
    shares = class_balance(np.array(targets, np.float32).reshape(-1, 3), ("x", "y", "z"), EstimateSource.AUDIT_SAMPLE)
    assert set(shares) == (set("xyz") if targets else set())
    for column, label in enumerate(shares):
        assert shares[label].value == pytest.approx(sum(row[column] for row in targets) / len(targets))
        assert (shares[label].n, shares[label].source) == (len(targets), EstimateSource.AUDIT_SAMPLE)


def test_the_share_of_a_label_lies_in_its_interval_in_19_of_20_samples(rng: np.random.Generator) -> None:
    shares = np.array([0.7, 0.25, 0.05])
    covered = []
    for _ in range(400):
        targets = np.eye(3, dtype=np.float32)[rng.choice(3, 60, p=shares)]
        estimates = class_balance(targets, "abc", EstimateSource.AUDIT_SAMPLE)
        covered.append(
            [estimates[label].low <= share <= estimates[label].high for label, share in zip("abc", shares, strict=True)]
        )
    assert (np.mean(covered, axis=0) > 0.92).all()
