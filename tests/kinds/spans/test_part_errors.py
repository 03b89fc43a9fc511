"""Errors in single spans and their groups, the strict F1 score as a weighted mean, and the agreement of annotators."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import object_rows
from ml_backend.core.types import PARTLY_READABLE, Label
from ml_backend.kinds.parts import PartAgreement
from ml_backend.kinds.spans import scoring
from ml_backend.kinds.spans.label_errors import find_missed_spans
from ml_backend.kinds.spans.part_errors import boundary_error, part_errors
from ml_backend.kinds.spans.span_aggregation import aggregate_spans, span_agreement
from ml_backend.kinds.spans.values import Predicted, Span, Target

spans = st.builds(
    lambda start, length, label: (start, start + length, label),
    st.integers(0, 8),
    st.integers(1, 4),
    st.sampled_from("AB"),
)
values = st.lists(spans, max_size=4, unique=True).map(lambda value: tuple(sorted(value)))


def draft_of(value: tuple[Span, ...], probability: float = 0.7) -> Predicted:
    return tuple((*span, probability) for span in value), (), (0.0, 0.0, 0.0)


def target_of(value: tuple[Span, ...], share: float = 1.0) -> Target:
    return tuple((*span, share) for span in value), 0


def errors_of(drafted: tuple[Span, ...], annotated: tuple[Span, ...]) -> list[tuple[str, str]]:
    errors = part_errors(object_rows([draft_of(drafted)]), object_rows([target_of(annotated)]))
    return [(error.name, error.group) for error in errors]


def test_errors_are_grouped_by_label_and_by_what_is_wrong() -> None:
    assert errors_of(((0, 3, "A"),), ((0, 3, "B"),)) == [("wrong label", "B -> A")]
    assert errors_of(((0, 5, "A"),), ((0, 3, "A"),)) == [("wrong boundary", "A, too long at the end")]
    assert errors_of(((0, 3, "A"),), ()) == [("spurious", "A")]
    assert errors_of((), ((0, 3, "A"),)) == [("missed", "A")]
    assert errors_of(((0, 3, "A"),), ((0, 3, "A"),)) == []


@pytest.mark.parametrize(
    ("draft", "error"),
    [
        ((2, 6), "too long at the beginning"),
        ((3, 8), "too long at the end"),
        ((2, 8), "too long at the beginning and end"),
        ((4, 6), "too short at the beginning"),
        ((3, 5), "too short at the end"),
        ((4, 5), "too short at the beginning and end"),
        ((2, 5), "shifted"),
        ((4, 7), "shifted"),
    ],
)
def test_a_boundary_error_says_at_which_end_a_draft_is_too_long_or_too_short(
    draft: tuple[int, int], error: str
) -> None:
    assert boundary_error((*draft, "A"), (3, 6, "A")) == error


def test_an_error_has_the_confidence_of_its_draft_and_half_of_the_annotators_are_no_error() -> None:
    tied = target_of(((0, 3, "A"),), share=0.5)
    predicted = object_rows([draft_of(((0, 3, "A"),)), draft_of(((4, 6, "B"),), 0.9), None])
    errors = part_errors(predicted, object_rows([tied, target_of(()), target_of(((1, 2, "A"),))]))
    assert [(error.row, error.name, error.confidence) for error in errors] == [(1, "spurious", 0.9), (2, "missed", 0.0)]
    assert (errors[0].drafted, errors[0].annotated) == (((4, 6, "B"),), ())
    assert (errors[1].drafted, errors[1].annotated) == ((), ((1, 2, "A"),))


@given(st.lists(st.tuples(values, values), min_size=1, max_size=5))
def test_errors_and_counts_account_for_every_span(pairs: list[tuple[tuple[Span, ...], tuple[Span, ...]]]) -> None:
    predicted = object_rows([draft_of(drafted) for drafted, _ in pairs])
    targets = object_rows([target_of(annotated) for _, annotated in pairs])
    errors, counts = part_errors(predicted, targets), scoring.label_counts(scoring.compare_rows(predicted, targets))
    assert sum(bool(error.drafted) for error in errors) == sum(n.drafted - n.right for n in counts.values())
    not_drafted = {(row, *span) for row, (drafted, annotated) in enumerate(pairs) for span in {*annotated} - {*drafted}}
    assert {(error.row, *error.annotated[0]) for error in errors if error.annotated} == not_drafted
    right = sum(len({*drafted} & {*annotated}) for drafted, annotated in pairs)
    total = sum(len(drafted) + len(annotated) for drafted, annotated in pairs)
    scores, weights = scoring.row_scores(predicted, targets), scoring.row_weights(predicted, targets)
    if total:
        assert np.average(scores, weights=weights) == pytest.approx(2 * right / total)


def agreement_by_hand(labels: list[list[tuple[Span, ...]]]) -> PartAgreement:
    """The agreement of tasks with several annotators, from all pairs and all spans."""
    votes = [(n, len(task)) for task in labels for n in Counter(span for value in task for span in value).values()]
    pairs = [({*a}, {*b}) for task in labels for a, b in combinations(task, 2)]
    total = sum(len(a) + len(b) for a, b in pairs)
    return PartAgreement(
        len(labels),
        sum(n == of for n, of in votes),
        sum(of / 2 < n < of for n, of in votes),
        sum(n == of / 2 for n, of in votes),
        sum(n < of / 2 for n, of in votes),
        2 * sum(len(a & b) for a, b in pairs) / total if total else 1.0,
    )


@given(st.lists(st.lists(values, min_size=2, max_size=4), min_size=1, max_size=4))
def test_agreement_counts_the_annotators_of_each_span(labels: list[list[tuple[Span, ...]]]) -> None:
    assert span_agreement([[Label(value) for value in task] for task in labels]) == agreement_by_hand(labels)


def test_agreement_needs_two_annotations_that_were_read_as_a_whole() -> None:
    whole, partly = Label(((0, 3, "A"),)), Label(((0, 3, "A"),), f"{PARTLY_READABLE} offsets")
    assert span_agreement([]) is span_agreement([[whole]]) is span_agreement([[whole, partly]]) is None
    agreement = span_agreement([[whole, Label(()), partly], [whole, partly]])
    assert agreement == PartAgreement(tasks=1, by_all=0, by_most=0, by_half=1, by_fewer=0, f1=0.0)


def test_spans_of_removed_labels_are_not_learnt_and_those_beside_them_are() -> None:
    partly = Label(((0, 3, "A"), (4, 6, "removed")), PARTLY_READABLE)
    assert aggregate_spans([partly], "AB") == (((0, 3, "A", 1.0),), 1)
    assert aggregate_spans([Label(((0, 3, "A"),), f"{PARTLY_READABLE} no label")], "AB") == (((0, 3, "A", 1.0),), 1)
    assert aggregate_spans([Label(((4, 6, "removed"),), "label")], "AB") is None


def test_a_proposal_names_the_missed_spans_and_those_that_they_replace() -> None:
    predicted = object_rows([((((0, 8, "A", 0.95)), (9, 12, "B", 0.85)), (), (0.0, 0.0, 0.0))])
    targets: Any = object_rows([target_of(((0, 3, "A"), (14, 16, "B")))])
    (suspect,) = find_missed_spans(predicted, targets, np.zeros(1, np.bool_), 5)
    assert suspect.instead == ((0, 8, "A", 0.95), (9, 12, "B", 0.85), (14, 16, "B", 1.0))
    assert suspect.added == ((0, 8, "A", 0.95), (9, 12, "B", 0.85)) and suspect.removed == ((0, 3, "A"),)
    assert suspect.confidence == 0.95


def test_a_proposal_keeps_spans_that_half_of_the_annotators_have_marked() -> None:
    predicted = object_rows([((((0, 3, "A", 0.99)), (9, 12, "B", 0.85), (14, 16, "A", 0.9)), (), (0.0, 0.0, 0.0))])
    targets: Any = object_rows([(((0, 3, "A", 0.5), (8, 10, "A", 0.5), (14, 16, "A", 1.0)), 0)])
    (suspect,) = find_missed_spans(predicted, targets, np.zeros(1, np.bool_), 5)
    assert suspect.instead == ((0, 3, "A", 0.5), (9, 12, "B", 0.85), (14, 16, "A", 1.0))
    assert suspect.added == ((9, 12, "B", 0.85),) and suspect.removed == ((8, 10, "A"),)
    tie_alone: Any = object_rows([(((0, 3, "A", 0.5), (9, 12, "B", 0.5), (14, 16, "A", 1.0)), 0)])
    assert find_missed_spans(predicted, tie_alone, np.zeros(1, np.bool_), 5) == []
