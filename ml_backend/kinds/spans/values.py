"""The values of a control that marks spans, and what learners and teachers say of them.

A text is that of `TaskContent.text`, and its characters are counted as Python does. Everything consists of tuples, so
that it can be stored:

value      spans (start, end, label) in ascending order, `end` exclusive. Several spans may have the same characters,
           with different labels. In the value of a draft, each span also has its probability
target     spans (start, end, label, share) with the share of the annotators who have marked the span, at least one
           half; and 1 if further spans of the text are unknown, else 0
predicted  the drafted spans (start, end, label, probability); further, less probable spans; and the measures of
           uncertainty, see `predictions`
"""

from __future__ import annotations

from collections.abc import Iterable

from ml_backend.core.types import LabelValue

Span = tuple[int, int, str]
WeightedSpan = tuple[int, int, str, float]
"""A span with a probability, or with the share of the annotators who have marked it."""
Target = tuple[tuple[WeightedSpan, ...], int]
Predicted = tuple[tuple[WeightedSpan, ...], tuple[WeightedSpan, ...], tuple[float, float, float]]


def spans_of(value: LabelValue | Iterable[WeightedSpan]) -> tuple[Span, ...]:
    """The spans of a value, of a draft, of a target or of a prediction, without probabilities."""
    return tuple((start, end, label) for start, end, label, *_ in value)
