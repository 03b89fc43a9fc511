"""A good teacher is believed, a biased one corrected, a bad one fades, and one that always says 1.0 is found out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.types import Floats
from ml_backend.teacher.confusion_model import CLASS_ROWS, TRUST, TRUST_ROWS, confusion, corrected


def sure(labels: np.ndarray, c: int) -> Floats:
    return np.eye(c, dtype=np.float32)[labels]


def test_before_anybody_answered_it_is_believed_as_much_as_the_prior_says() -> None:
    found = confusion(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), multiple=False)
    assert found.diagonal() == pytest.approx([TRUST] * 4)
    assert found.sum(axis=1) == pytest.approx([1] * 4)
    assert found[0, 1] == pytest.approx((1 - TRUST) / 3)


@given(n=st.integers(0, 40), c=st.integers(1, 5), seed=st.integers(0, 99))
def test_it_is_the_dirichlet_posterior_counted_by_hand(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    said, truth = random.integers(0, c, n), random.integers(0, c, n)
    found = confusion(sure(said, c), sure(truth, c), multiple=False)
    trust = (TRUST * TRUST_ROWS + int((said == truth).sum())) / (TRUST_ROWS + n)
    for i in range(c):
        for j in range(c):
            prior = (trust if c > 1 else 1.0) if i == j else (1 - trust) / (c - 1)
            count, total = int(((said == i) & (truth == j)).sum()), int((said == i).sum())
            assert found[i, j] == pytest.approx((count + CLASS_ROWS * prior) / (total + CLASS_ROWS))


def test_a_systematic_mistake_is_corrected(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 3, 300)
    said = np.where(truth == 1, 2, truth)  # whatever is 1 is called 2
    matrix = confusion(sure(said, 3), sure(truth, 3), multiple=False)
    about = corrected(sure(np.array([0, 2]), 3), matrix, multiple=False)
    assert about[0].argmax() == 0 and about[0, 0] > 0.9
    assert about[1, 1] == pytest.approx(0.5, abs=0.1) and about[1, 2] == pytest.approx(0.5, abs=0.1)


def test_a_teacher_that_guesses_fades_out_however_sure_it_says_it_is(rng: np.random.Generator) -> None:
    truth, said = rng.integers(0, 4, 2000), rng.integers(0, 4, 2000)
    matrix = confusion(sure(said, 4), sure(truth, 4), multiple=False)
    assert corrected(sure(said[:50], 4), matrix, multiple=False).max() < 0.4


@given(n=st.integers(0, 30), c=st.integers(1, 4), seed=st.integers(0, 99))
def test_with_several_choices_each_label_is_judged_by_its_presence_and_its_absence(n: int, c: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    said, truth = (random.random((n, c)) < 0.4 for _ in range(2))
    found = confusion(said.astype(np.float32), truth.astype(np.float32), multiple=True)
    trust = (TRUST * TRUST_ROWS * c + int((said == truth).sum())) / (TRUST_ROWS * c + n * c)
    for label in range(c):
        for there, prior in ((0, 1 - trust), (1, trust)):
            rows = said[:, label] == bool(there)
            expected = (truth[rows, label].sum() + CLASS_ROWS * prior) / (rows.sum() + CLASS_ROWS)
            assert found[label, there] == pytest.approx(expected)
    about = corrected(said.astype(np.float32), found, multiple=True)
    assert about.shape == (n, c) and ((about >= 0) & (about <= 1)).all()
    assert about == pytest.approx(np.take_along_axis(found.T, said.astype(int), axis=0) if n else about)
