"""Makes the drafts of texts from the predictions for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ml_backend.core.arrays import Rows
from ml_backend.core.types import LabelValue
from ml_backend.kinds.spans import teacher_replies
from ml_backend.kinds.spans.predictions import no_span_probability
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import Predicted, WeightedSpan


def draft_rows(control: SpansSchema, predicted: Rows) -> list[tuple[LabelValue, float] | None]:
    """The drafts of n texts, each with its confidence: that of the least probable drafted span; without any, the
    probability that there is none. A teacher that has no spans for a text, and may have missed some, drafts nothing."""
    return [
        None if row is None or (not row[0] and row[2] == teacher_replies.PARTLY_KNOWN) else _draft(control, row)
        for row in predicted
    ]


def _draft(control: SpansSchema, row: Predicted) -> tuple[LabelValue, float]:
    drafted, further, _ = row
    if control.max_usages:
        drafted = _within_limits(drafted, dict(zip(control.labels, control.max_usages, strict=True)))
    return drafted, min((p for *_, p in drafted), default=no_span_probability(p for *_, p in further))


def _within_limits(spans: Sequence[WeightedSpan], limits: dict[str, int]) -> tuple[WeightedSpan, ...]:
    """The most probable spans of each label, at most as many as its limit; all of them without a limit, or if it is
    0."""
    counts, kept = Counter[str](), []
    for span in sorted(spans, key=lambda span: -span[3]):
        label = span[2]
        counts[label] += 1
        if not limits.get(label) or counts[label] <= limits[label]:
            kept.append(span)
    return tuple(sorted(kept))
