"""The predictions for a control, compared with loops over rows and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import choices_of, make_pool
from uncertainty_by_hand import entropy_by_hand, least_confidence_by_hand, margin_by_hand

from ml_backend.core.arrays import Floats, UncertaintyMeasure
from ml_backend.core.schema import ChoicesSchema, ControlSchema
from ml_backend.kinds.choices.kind import CHOICES
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.kinds.choices.uncertainty import MEASURES


def predictions(multiple: bool, n: int = 20, seed: int = 0) -> ChoicePredictions:
    return choices_of(make_pool(n, 4, multiple=multiple, seed=seed))


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize(
    ("measure", "by_hand"),
    [("margin", margin_by_hand), ("least confidence", least_confidence_by_hand), ("entropy", entropy_by_hand)],
)
def test_the_uncertainty_is_that_of_the_rows_in_their_order(
    measure: UncertaintyMeasure, by_hand: Callable[[list[float], bool], float], multiple: bool
) -> None:
    all_rows = predictions(multiple)
    rows = np.array([7, 0, 7, 19])
    uncertainties = all_rows.uncertainty(measure, rows)
    assert uncertainties.dtype == np.float32
    expected = [by_hand(all_rows.probabilities[row].tolist(), multiple) for row in rows]
    np.testing.assert_allclose(uncertainties, expected, atol=2e-6)


@pytest.mark.parametrize("multiple", [False, True])
def test_taken_rows_are_predictions_of_their_own(multiple: bool) -> None:
    all_rows = predictions(multiple)
    rows = np.array([7, 0, 19])
    taken = all_rows.take(rows)
    assert (len(all_rows), len(taken), taken.multiple) == (20, 3, multiple)
    np.testing.assert_array_equal(taken.probabilities, all_rows.probabilities[rows])


@given(n=st.integers(1, 20), multiple=st.booleans(), seed=st.integers(0, 999))
def test_residuals_are_the_probabilities_minus_the_predicted_labels(n: int, multiple: bool, seed: int) -> None:
    all_rows = predictions(multiple, n, seed)
    before = all_rows.probabilities.copy()
    rows = np.random.default_rng(seed).permutation(n)[: max(1, n - 1)]
    residuals = all_rows.gradient_residuals(rows)
    assert residuals.dtype == np.float32 and residuals.shape == (len(rows), 4)
    for residual, row in zip(residuals.tolist(), before[rows].tolist(), strict=True):
        for label, p in enumerate(row):
            is_predicted = p >= 0.5 if multiple else p == max(row)
            assert residual[label] == pytest.approx(p - is_predicted, abs=1e-6)
    np.testing.assert_array_equal(all_rows.probabilities, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_rows_with_a_number_that_is_not_finite_are_found(bad: float) -> None:
    all_rows = predictions(multiple=False)
    assert all_rows.is_finite().tolist() == [True] * 20
    all_rows.probabilities[[3, 17], [0, 2]] = bad
    assert np.flatnonzero(~all_rows.is_finite()).tolist() == [3, 17]


def test_of_many_labels_the_embedded_teacher_drafts_the_most_probable_ones() -> None:
    class Sure:
        def draft(self, texts: Sequence[str], vectors: Floats, control: ControlSchema) -> Floats:
            return np.array([np.linspace(0.9, 0.6, 40)] * len(texts), np.float32)

    control = ChoicesSchema("c", "t", tuple(f"label {n}" for n in range(40)), multiple=True)
    predicted = CHOICES.cold_start(control, Sure(), ["a text"], np.zeros((1, 4), np.float32))
    assert predicted is not None
    [draft] = CHOICES.drafts(control, predicted)
    assert draft is not None and draft[0] == control.labels[:5]


def test_undecided_comparisons_have_no_uncertainty() -> None:
    probabilities = np.array([[0.5, 0.5], [0.6, 0.4]], np.float32)
    rows = np.arange(2)
    for skips, expected in ((False, [True, True]), (True, [False, True])):
        predictions = ChoicePredictions(probabilities, multiple=False, skips_undecided=skips)
        for measure in MEASURES:
            assert (predictions.uncertainty(measure, rows) > 0).tolist() == expected
            assert (predictions.take(rows).uncertainty(measure, rows) > 0).tolist() == expected
