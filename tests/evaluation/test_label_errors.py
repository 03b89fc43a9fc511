"""Suspected label errors, against the paper's definition in plain loops, and against noise that was added."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemas import ONE_CHOICE, SEVERAL_CHOICES

from ml_backend.core.arrays import TrainingSet
from ml_backend.evaluation.label_errors import MIN_ROWS_OF_LABEL, find_label_errors
from plugins.learners.logistic import Logistic


def by_the_paper(probabilities: npt.NDArray[Any], labels: list[int]) -> list[tuple[float, int, int]]:
    """(margin, row, better label) of every off-diagonal row, lowest margin first, from labels with enough rows."""
    n, c = probabilities.shape
    members = {j: [i for i in range(n) if labels[i] == j] for j in range(c)}
    used_labels = [j for j in range(c) if len(members[j]) >= MIN_ROWS_OF_LABEL]
    threshold = {j: sum(float(probabilities[i, j]) for i in members[j]) / len(members[j]) for j in used_labels}
    suspected = []
    for i in range(n):
        if labels[i] not in used_labels:
            continue
        confident = [j for j in used_labels if probabilities[i, j] >= threshold[j] - 1e-6]
        if not confident:
            continue
        j = max(confident, key=lambda label: (probabilities[i, label], -label))
        if j != labels[i]:
            highest_other = max(float(probabilities[i, k]) for k in range(c) if k != labels[i])
            suspected.append((float(probabilities[i, labels[i]]) - highest_other, i, j))
    return sorted(suspected)


@given(n=st.integers(0, 60), c=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_one_label_is_doubted_as_the_paper_defines_it(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(c, 0.7), n).astype(np.float32)
    labels = random.integers(0, c, n)
    errors = find_label_errors(probabilities, np.eye(c, dtype=np.float32)[labels], False, np.zeros(n, bool), n)
    expected = by_the_paper(probabilities, labels.tolist())
    assert dict(zip(errors.rows.tolist(), errors.instead.argmax(axis=1).tolist(), strict=True)) == {
        i: j for _, i, j in expected
    }
    assert errors.margin == pytest.approx([margin for margin, _, _ in expected], abs=1e-6)
    assert (errors.instead.sum(axis=1) == 1).all()


@given(n=st.integers(0, 40), c=st.integers(1, 3), seed=st.integers(0, 10_000))
def test_several_labels_are_doubted_one_against_the_rest(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.random((n, c)).astype(np.float32)
    targets = random.integers(0, 2, (n, c)).astype(np.float32)
    errors = find_label_errors(probabilities, targets, True, np.zeros(n, bool), n)
    margins: dict[int, float] = {}
    instead = targets > 0.5
    for label in range(c):
        p = probabilities[:, label]
        for margin, row, better in by_the_paper(np.column_stack([1 - p, p]), targets[:, label].astype(int).tolist()):
            margins[row] = min(margin, margins.get(row, 1.0))
            instead[row, label] = better == 1
    assert set(errors.rows.tolist()) == set(margins)
    assert errors.margin == pytest.approx(sorted(margins.values()), abs=1e-6)
    assert (errors.instead == instead[errors.rows]).all()


def noisy(
    random: np.random.Generator, n: int, noise: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Vectors (n, 16) around four centres, labels (n,), and which of them (n,) were replaced by others."""
    truth = random.integers(0, 4, n)
    vectors = random.normal(size=(4, 16))[truth] + random.normal(size=(n, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = random.random(n) < noise
    return vectors.astype(np.float32), np.where(wrong, (truth + random.integers(1, 4, n)) % 4, truth), wrong


def test_noise_that_was_put_in_is_proposed_first(rng: np.random.Generator) -> None:
    vectors, labels, wrong = noisy(rng, 400, 0.08)
    targets = np.eye(4, dtype=np.float32)[labels]
    held_out = Logistic().fit(TrainingSet(vectors, targets, np.ones(400, np.float32), ONE_CHOICE), 0).held_out
    errors = find_label_errors(held_out, targets, False, np.zeros(400, bool), 20)
    assert len(errors.rows) == 20
    assert wrong[errors.rows].mean() > 0.7  # eight of a hundred by chance
    assert (np.diff(errors.margin) >= 0).all()

    multi_targets = np.zeros((400, 4), np.float32)
    multi_targets[np.arange(400), labels] = 1.0
    held_out = (
        Logistic().fit(TrainingSet(vectors, multi_targets, np.ones(400, np.float32), SEVERAL_CHOICES), 0).held_out
    )
    assert wrong[find_label_errors(held_out, multi_targets, True, np.zeros(400, bool), 20).rows].mean() > 0.7


def slip(labels: list[int], row: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Probabilities near 1 for every given label, but for label 0 in one row."""
    targets = np.eye(3, dtype=np.float32)[labels]
    probabilities = 0.8 * targets + 0.1 * (1 - targets)
    probabilities[row] = [0.9, 0.05, 0.05]
    return probabilities.astype(np.float32), targets


def test_the_slip_is_found_and_nothing_else_even_among_equals() -> None:
    probabilities, targets = slip([0] * 6 + [1] * 6, 8)
    errors = find_label_errors(probabilities, targets, False, np.zeros(12, bool), 10)
    assert errors.rows.tolist() == [8]
    assert errors.instead.tolist() == [[True, False, False]]
    assert errors.margin == pytest.approx([0.05 - 0.9])


def test_a_protected_row_is_never_proposed() -> None:
    probabilities, targets = slip([0] * 6 + [1] * 6, 8)
    assert not len(find_label_errors(probabilities, targets, False, np.arange(12) == 8, 10).rows)


@pytest.mark.parametrize("labels", [[0] * 12 + [1] * (MIN_ROWS_OF_LABEL - 1), [0] * (MIN_ROWS_OF_LABEL - 1) + [1] * 12])
def test_a_label_with_few_answers_neither_doubts_nor_is_doubted(labels: list[int]) -> None:
    probabilities, targets = slip(labels, len(labels) - 1)
    assert not len(find_label_errors(probabilities, targets, False, np.zeros(len(labels), bool), 10).rows)


@pytest.mark.parametrize("multiple", [False, True])
def test_where_annotators_are_split_there_is_no_answer_to_doubt(multiple: bool) -> None:
    probabilities, targets = slip([0] * 6 + [1] * 7, 8)
    targets[8, :2] = 0.5
    assert 8 not in find_label_errors(probabilities, targets, multiple, np.zeros(13, bool), 10).rows


def test_the_budget_keeps_the_strongest(rng: np.random.Generator) -> None:
    probabilities = rng.dirichlet(np.ones(3), 80).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 80)]
    all_errors, first_errors = (
        find_label_errors(probabilities, targets, False, np.zeros(80, bool), budget) for budget in (80, 5)
    )
    assert len(all_errors.rows) > 5
    assert first_errors.rows.tolist() == all_errors.rows[:5].tolist()
    assert not len(find_label_errors(probabilities, targets, False, np.zeros(80, bool), 0).rows)
