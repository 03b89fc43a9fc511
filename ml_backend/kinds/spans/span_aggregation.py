"""Aggregates the spans of several annotators of a text to one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ml_backend.core.types import PARTLY_READABLE, Label
from ml_backend.kinds.spans.values import Target, spans_of


def aggregate_spans(labels: Sequence[Label]) -> Target | None:
    """The spans that at least half of the annotators have marked, with their shares of the annotators; None if no label
    can be learnt from. Further spans are unknown if one of the labels could be read in part only."""
    read = [label for label in labels if label.is_read]
    if not read:
        return None
    votes = Counter(span for label in read for span in {*spans_of(label.value)})
    spans = sorted((*span, count / len(read)) for span, count in votes.items() if 2 * count >= len(read))
    return tuple(spans), int(any(label.unread == PARTLY_READABLE for label in read))
