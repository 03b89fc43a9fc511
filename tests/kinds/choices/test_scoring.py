"""What is drafted from probabilities, and how drafts are scored against the annotators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemas import choices_control

from ml_backend.core.arrays import Floats
from ml_backend.core.schema import ChoicesSchema
from ml_backend.evaluation.metrics import decide_labels, is_correct
from ml_backend.kinds.choices.kind import CHOICES
from ml_backend.kinds.choices.scoring import EXACTLY_RIGHT, decide, expected_errors, row_scorer, structure_metrics


def stars(count: int = 5) -> ChoicesSchema:
    return choices_control([str(n) for n in range(1, count + 1)], ordered=True)


def rows(data: st.DataObject, c: int) -> tuple[Floats, Floats]:
    """Probabilities and targets of some rows; evenly split annotators share a target."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = data.draw(st.integers(1, 20))
    probabilities = generator.dirichlet(np.full(c, 0.4), n).astype(np.float32)
    targets = np.zeros((n, c), np.float32)
    for row in targets:
        chosen = generator.choice(c, generator.integers(1, min(c, 2) + 1), replace=False)
        row[chosen] = 1 / len(chosen)
    return probabilities, targets


@given(data=st.data(), c=st.integers(2, 7))
def test_the_draft_of_a_rating_has_the_least_expected_distance(data: st.DataObject, c: int) -> None:
    probabilities, _ = rows(data, c)
    drafted = decide(probabilities, stars(c))
    assert (drafted.sum(axis=1) == 1).all()
    for row, place in zip(probabilities, drafted.argmax(axis=1), strict=True):
        distances = [sum(p * abs(label - draft) for label, p in enumerate(row.tolist())) for draft in range(c)]
        assert distances[place] <= min(distances) + 1e-4


@given(data=st.data(), c=st.integers(2, 7))
def test_the_score_of_a_rating_is_one_minus_the_distance_on_the_scale(data: st.DataObject, c: int) -> None:
    probabilities, targets = rows(data, c)
    control = stars(c)
    scores = row_scorer(control)(probabilities, targets)
    drafted = decide(probabilities, control).argmax(axis=1)
    for score, draft, target in zip(scores, drafted, targets, strict=True):
        nearest = min(abs(int(draft) - int(label)) for label in np.flatnonzero(target == target.max()))
        assert score == pytest.approx(1 - nearest / (c - 1))


@given(data=st.data(), c=st.integers(2, 7))
def test_the_expected_error_of_a_rating_is_the_expected_distance_on_the_scale(data: st.DataObject, c: int) -> None:
    probabilities, targets = rows(data, c)
    errors = expected_errors(probabilities, targets, stars(c))
    for error, p, target in zip(errors, probabilities.tolist(), targets.tolist(), strict=True):
        pairs = [(p[i] * target[j], abs(i - j) / (c - 1)) for i in range(c) for j in range(c)]
        assert error == pytest.approx(sum(weight * distance for weight, distance in pairs), abs=1e-5)


@pytest.mark.parametrize("multiple", [False, True])
@given(data=st.data())
def test_labels_without_an_order_are_right_or_wrong(multiple: bool, data: st.DataObject) -> None:
    probabilities, targets = rows(data, 4)
    control = choices_control("abcd", multiple=multiple)
    assert np.array_equal(decide(probabilities, control), decide_labels(probabilities, multiple))
    expected = is_correct(probabilities, targets, multiple)
    assert row_scorer(control)(probabilities, targets).tolist() == expected.astype(float).tolist()


def test_a_label_of_a_hierarchy_is_scored_with_the_ancestors_that_its_draft_has() -> None:
    control = choices_control(["a", "a > b"], multiple=True, parents=(-1, 0))
    probabilities, targets = np.array([[0.4, 0.6]], np.float32), np.array([[1, 1]], np.float32)
    assert row_scorer(control)(probabilities, targets).tolist() == [1.0]
    assert row_scorer(choices_control(["a", "a > b"], multiple=True))(probabilities, targets).tolist() == [0.0]


def test_a_draft_of_half_the_probability_each_is_the_lower_rating() -> None:
    probabilities = np.array([[0.5, 0.0, 0.5], [0.1, 0.2, 0.7]], np.float32)
    assert decide(probabilities, stars(3)).argmax(axis=1).tolist() == [0, 2]


def test_a_rating_has_the_share_of_exactly_right_drafts_among_its_metrics() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    targets = np.array([[1, 0, 0], [0, 0, 1], [0, 0.5, 0.5], [0, 0, 1]], np.float32)
    assert structure_metrics(probabilities, targets, stars(3))[EXACTLY_RIGHT] == 0.75
    assert EXACTLY_RIGHT not in structure_metrics(probabilities, targets, choices_control("abc"))


@given(data=st.data(), c=st.integers(2, 5))
def test_the_f1_of_each_rating_is_that_of_the_drafts(data: st.DataObject, c: int) -> None:
    probabilities, targets = rows(data, c)
    control = stars(c)
    drafts = decide(probabilities, control).argmax(axis=1).tolist()
    annotated = targets.argmax(axis=1).tolist()
    expected = {}
    for place, label in enumerate(control.labels):
        hits = sum(first == second == place for first, second in zip(drafts, annotated, strict=True))
        if total := drafts.count(place) + annotated.count(place):
            expected[label] = (2 * hits / total, annotated.count(place))
    scores = CHOICES.label_scores(control, probabilities, targets)
    assert {label: (pytest.approx(f1), support) for label, (f1, support) in scores.items()} == expected
    metrics = CHOICES.simulation_metrics(control, probabilities, targets)
    assert metrics["macro_f1"] == pytest.approx(np.mean([f1 for f1, _ in expected.values()]))
