"""A good teacher is believed, a biased one corrected, a bad one fades, and one that always says 1.0 is found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Floats
from ml_backend.kinds.choices.confusion_model import CLASS_ROWS, TRUST, TRUST_ROWS, confusion, corrected


def sure(labels: npt.NDArray[Any], c: int) -> Floats:
    return np.asarray(np.eye(c, dtype=np.float32)[labels])


def test_without_annotations_the_confusion_matrix_is_the_prior() -> None:
    matrix = confusion(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), multiple=False)
    assert matrix.diagonal() == pytest.approx([TRUST] * 4)
    assert matrix.sum(axis=1) == pytest.approx([1] * 4)
    assert matrix[0, 1] == pytest.approx((1 - TRUST) / 3)


@given(n=st.integers(0, 40), c=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_confusion_matrix_is_the_dirichlet_posterior_counted_by_hand(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, truth = random.integers(0, c, n), random.integers(0, c, n)
    matrix = confusion(sure(labels, c), sure(truth, c), multiple=False)
    trust = (TRUST * TRUST_ROWS + int((labels == truth).sum())) / (TRUST_ROWS + n)
    for i in range(c):
        for j in range(c):
            prior = (trust if c > 1 else 1.0) if i == j else (1 - trust) / (c - 1)
            count, total = int(((labels == i) & (truth == j)).sum()), int((labels == i).sum())
            assert matrix[i, j] == pytest.approx((count + CLASS_ROWS * prior) / (total + CLASS_ROWS))


def test_a_systematic_mistake_is_corrected(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 3, 300)
    labels = np.where(truth == 1, 2, truth)  # whatever is 1 is called 2
    matrix = confusion(sure(labels, 3), sure(truth, 3), multiple=False)
    expected_labels = corrected(sure(np.array([0, 2]), 3), matrix, multiple=False)
    assert expected_labels[0].argmax() == 0 and expected_labels[0, 0] > 0.9
    assert expected_labels[1, 1] == pytest.approx(0.5, abs=0.1) and expected_labels[1, 2] == pytest.approx(0.5, abs=0.1)


def test_labels_of_a_guessing_teacher_become_nearly_uniform_however_confident_they_are(
    rng: np.random.Generator,
) -> None:
    truth, labels = rng.integers(0, 4, 2000), rng.integers(0, 4, 2000)
    matrix = confusion(sure(labels, 4), sure(truth, 4), multiple=False)
    assert corrected(sure(labels[:50], 4), matrix, multiple=False).max() < 0.4


@given(n=st.integers(0, 30), c=st.integers(1, 4), seed=st.integers(0, 99))
def test_with_several_choices_each_label_is_judged_by_its_presence_and_its_absence(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, truth = (random.random((n, c)) < 0.4 for _ in range(2))
    matrix = confusion(labels.astype(np.float32), truth.astype(np.float32), multiple=True)
    trust = (TRUST * TRUST_ROWS * c + int((labels == truth).sum())) / (TRUST_ROWS * c + n * c)
    for label in range(c):
        for present, prior in ((0, 1 - trust), (1, trust)):
            rows = labels[:, label] == bool(present)
            expected = (truth[rows, label].sum() + CLASS_ROWS * prior) / (rows.sum() + CLASS_ROWS)
            assert matrix[label, present] == pytest.approx(expected)
    expected_labels = corrected(labels.astype(np.float32), matrix, multiple=True)
    assert expected_labels.shape == (n, c) and ((expected_labels >= 0) & (expected_labels <= 1)).all()
    assert expected_labels == pytest.approx(
        np.take_along_axis(matrix.T, labels.astype(int), axis=0) if n else expected_labels
    )
