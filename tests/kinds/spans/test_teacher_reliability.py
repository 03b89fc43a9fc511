"""A good teacher of spans is believed, and another as far as the annotators agree with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Rows, object_rows
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.teacher_reliability import TIED, TRUST, distilled_targets, expected, reliability
from ml_backend.kinds.spans.teacher_replies import COMPLETE, PARTLY_KNOWN, is_partly_known

CONTROL = SpansSchema("names", "text", labels=("person", "city"))
probabilities = st.floats(0, 1)


def row(*spans: tuple[int, str, float], measures: tuple[float, float, float] = COMPLETE) -> Any:
    """A prediction with spans of one character: where they begin, their labels and probabilities."""
    return tuple((start, start + 1, label, p) for start, label, p in spans), (), measures


def target(*spans: tuple[int, str], share: float = 1.0, is_partial: int = 0) -> Any:
    """A target with spans of one character."""
    return tuple((start, start + 1, label, share) for start, label in spans), is_partial


def measured(rows: list[Any], targets: list[Any], *, is_trusted: bool = True) -> Any:
    return reliability(CONTROL, object_rows(rows), object_rows(targets), is_trusted=is_trusted)


def drafted(rows: Rows) -> list[Any]:
    return [prediction[0] for prediction in rows]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(CONTROL.labels), probabilities), max_size=5))
def test_a_teacher_that_was_not_compared_is_believed_if_it_is_trusted(spans: list[Any]) -> None:
    rows = object_rows([row(*spans), None, row(*spans, measures=PARTLY_KNOWN)])
    assert expected(CONTROL, rows, measured([], [])).tolist() == rows.tolist()
    doubted = expected(CONTROL, rows, measured([], [], is_trusted=False))[0]
    assert sorted((*doubted[0], *doubted[1])) == sorted((*s[:3], s[3] * TRUST) for s in rows[0][0])


def test_a_sure_teacher_that_is_often_wrong_gets_the_share_of_right_spans() -> None:
    rows = [row((0, "person", 1.0), (2, "person", 1.0), (4, "city", 1.0))] * 200
    targets = [target((0, "person"), (4, "city"))] * 200
    of_person, of_city, of_all = measured(rows, targets)
    assert of_person == pytest.approx([0.5, 0.5, 1], abs=0.02) and of_city == pytest.approx([1, 1, 1], abs=0.02)
    assert of_all == pytest.approx([2 / 3, 2 / 3, 1], abs=0.02)
    [(spans, others, _)] = expected(CONTROL, object_rows(rows[:1]), measured(rows, targets))
    assert not others and [p for *_, p in spans] == pytest.approx([0.5, 0.5, 1], abs=0.02)


def test_a_sure_teacher_that_is_mostly_wrong_has_no_drafts_and_leaves_texts_partly_known() -> None:
    rows, targets = [row((0, "person", 1.0))] * 100, [target((5, "person"))] * 100
    [(spans, others, measures)] = expected(CONTROL, object_rows(rows[:1]), measured(rows, targets))
    assert not spans and others[0][:3] == (0, 1, "person") and others[0][3] < 0.15 and measures == PARTLY_KNOWN


def test_a_teacher_that_is_right_more_often_than_it_says_keeps_its_drafts() -> None:
    rows, targets = [row((0, "person", 0.4))] * 50, [target((0, "person"))] * 50
    [(spans, others, _)] = expected(CONTROL, object_rows(rows[:1]), measured(rows, targets))
    assert not others and spans[0][3] > 0.8


def test_labels_are_pooled_as_long_as_there_are_few_spans() -> None:
    rows = [row((0, "person", 1.0))] * 40 + [row((0, "city", 1.0))]
    targets = [target()] * 40 + [target((0, "city"))]
    of_person, of_city, _ = measured(rows, targets)
    assert of_person[1] < of_city[1] < 0.5


@given(st.lists(probabilities, min_size=2, max_size=8), st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_a_surer_span_stays_at_least_as_probable(ps: list[float], right: int, wrong: int, is_trusted: bool) -> None:
    rows = [row((0, "person", 0.9))] * (right + wrong)
    targets = [target((0, "person"))] * right + [target()] * wrong
    estimate = measured(rows, targets, is_trusted=is_trusted)
    spans = [(start, "person", p) for start, p in enumerate(sorted(ps))]
    [(kept, others, _)] = expected(CONTROL, object_rows([row(*spans)]), estimate)
    by_start = [p for *_, p in sorted((*kept, *others))]
    assert by_start == sorted(by_start) and all(0 <= p <= 1 for p in by_start)
    assert not kept or not others or max(p for *_, p in others) <= min(p for *_, p in kept)


def test_only_what_is_known_completely_counts() -> None:
    nothing = measured([], [])
    assert np.array_equal(measured([row((0, "city", 0.9))], [target(is_partial=1)]), nothing)
    assert np.array_equal(measured([None, row((0, "city", 0.9))], [target(), None]), nothing)
    incomplete = measured([row(measures=PARTLY_KNOWN)] * 9, [target((0, "city"))] * 9)
    assert np.array_equal(incomplete, nothing)
    complete = measured([row()] * 9, [target((0, "city"))] * 9)
    assert (complete[1:, 2] < 0.6).all() and np.array_equal(complete[:, :2], nothing[:, :2])


def test_a_span_counts_as_far_as_the_annotators_have_marked_it() -> None:
    estimate = measured([row((0, "city", 1.0))] * 400, [target((0, "city"), share=0.5)] * 400)
    assert estimate[1] == pytest.approx([0.5, 0.5, 1], abs=0.02)


def test_a_teacher_that_misses_most_spans_leaves_texts_partly_known() -> None:
    rows, targets = [row((0, "city", 1.0))] * 40, [target(*((start, "city") for start in range(4)))] * 40
    estimate = measured(rows, targets)
    [prediction] = expected(CONTROL, object_rows(rows[:1]), estimate)
    assert is_partly_known(prediction) and prediction[0]


def test_labels_that_are_not_of_the_control_do_not_count() -> None:
    assert np.array_equal(measured([row()], [target((0, "gone"))]), measured([], []))


@pytest.mark.parametrize("labels", [(), ("one",), ("a", "b", "c")])
def test_the_shape_depends_on_the_control_alone(labels: tuple[str, ...]) -> None:
    control = SpansSchema("names", "text", labels=labels)
    rows = object_rows([])
    assert reliability(control, rows, rows, is_trusted=False).shape == (len(labels) + 1, 3)
    assert len(expected(control, rows, reliability(control, rows, rows, is_trusted=True))) == 0


spans_of_rows = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(CONTROL.labels), probabilities), max_size=5)


@given(drafts=spans_of_rows, others=spans_of_rows, measures=st.sampled_from([COMPLETE, PARTLY_KNOWN]))
def test_drafted_spans_are_distilled_and_the_others_are_tied(
    drafts: list[Any], others: list[Any], measures: tuple[float, float, float]
) -> None:
    prediction = (row(*drafts)[0], row(*others)[0], measures)
    [(spans, is_partial)] = distilled_targets(object_rows([prediction]))
    assert list(spans) == sorted(spans) and is_partial == (measures == PARTLY_KNOWN)
    assert sorted(s[:3] for s in spans if s[3] > TIED) == sorted(s[:3] for s in prediction[0])
    assert sorted(s[:3] for s in spans if s[3] == TIED) == sorted(s[:3] for s in prediction[1])
    assert all(TIED <= share <= 1 for *_, share in spans)


def test_spans_of_a_label_that_is_often_wrong_are_tied() -> None:
    wrong = measured([row((0, "city", 0.9))] * 40, [target()] * 40)
    [(spans, _)] = distilled_targets(expected(CONTROL, object_rows([row((0, "city", 0.9))]), wrong))
    assert [share for *_, share in spans] == [TIED]
