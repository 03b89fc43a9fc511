"""Metrics of ordered and of hierarchical labels, against scikit-learn and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from ml_backend.evaluation.structured_metrics import (
    hierarchical_f1,
    mean_absolute_distance,
    quadratic_weighted_kappa,
)

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@given(pairs=pairs)
def test_the_weighted_kappa_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    drafted, expected = np.array(pairs).T
    kappa = quadratic_weighted_kappa(drafted, expected, 5)
    if len({*drafted, *expected}) == 1:
        assert math.isnan(kappa)
    else:
        sklearns = cohen_kappa_score(drafted, expected, labels=range(5), weights="quadratic")
        assert kappa == pytest.approx(sklearns, abs=1e-12)


def test_a_near_miss_costs_less_than_a_far_one() -> None:
    expected = np.array([0, 1, 2, 3, 4])
    near, far = np.array([1, 1, 2, 3, 4]), np.array([4, 1, 2, 3, 4])
    assert quadratic_weighted_kappa(near, expected, 5) > quadratic_weighted_kappa(far, expected, 5)
    assert (mean_absolute_distance(near, expected), mean_absolute_distance(far, expected)) == (0.2, 0.8)


def test_without_rows_there_is_no_number() -> None:
    none = np.array([], np.int64)
    no_labels = np.zeros((0, 3), bool)
    assert math.isnan(quadratic_weighted_kappa(none, none, 5))
    assert math.isnan(mean_absolute_distance(none, none))
    assert math.isnan(hierarchical_f1(no_labels, no_labels, (-1, 0, 1)))


@st.composite
def forests(draw: st.DrawFn) -> tuple[int, ...]:
    return tuple(draw(st.integers(-1, label - 1)) for label in range(draw(st.integers(1, 8))))


def closed(labels: set[int], parents: tuple[int, ...]) -> set[int]:
    """The labels with their ancestors, one by one."""
    out = set[int]()
    for label in labels:
        while label >= 0:
            out.add(label)
            label = parents[label]  # noqa: PLW2901
    return out


@given(parents=forests(), seed=st.integers(0, 999))
def test_the_hierarchical_f1_counts_labels_with_their_ancestors(parents: tuple[int, ...], seed: int) -> None:
    drafted, expected = np.random.default_rng(seed).random((2, 6, len(parents))) < 0.3
    sets = [[closed({*np.flatnonzero(row)}, parents) for row in labels] for labels in (drafted, expected)]
    hits = sum(len(left & right) for left, right in zip(*sets, strict=True))
    precision_of, recall_of = (sum(map(len, rows)) for rows in sets)
    f1 = hierarchical_f1(drafted, expected, parents)
    if precision_of + recall_of == 0:
        assert math.isnan(f1)
    elif hits:
        precision, recall = hits / precision_of, hits / recall_of
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert f1 == 0


@given(seed=st.integers(0, 99))
def test_without_a_hierarchy_it_is_the_micro_f1(seed: int) -> None:
    drafted, expected = np.random.default_rng(seed).random((2, 6, 4)) < 0.5
    micro = f1_score(expected, drafted, average="micro")
    assert hierarchical_f1(drafted, expected, (-1,) * 4) == pytest.approx(micro)


def test_a_sibling_scores_more_than_a_stranger() -> None:
    parents = (-1, 0, 0, -1)
    expected = np.array([[True, True, False, False]])
    sibling, stranger = np.array([[False, False, True, False]]), np.array([[False, False, False, True]])
    assert hierarchical_f1(sibling, expected, parents) == 0.5
    assert hierarchical_f1(stranger, expected, parents) == 0
