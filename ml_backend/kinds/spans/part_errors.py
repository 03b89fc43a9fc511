"""The errors in single drafted spans, in groups that tell what a learner confuses."""

from __future__ import annotations

from ml_backend.core.arrays import Rows
from ml_backend.kinds.parts import PartError
from ml_backend.kinds.spans.scoring import WRONG_BOUNDARY, WRONG_LABEL, compare_rows
from ml_backend.kinds.spans.values import Span


def part_errors(predicted: Rows, targets: Rows) -> list[PartError]:
    """The errors in n drafts. Errors are grouped by the label, wrong labels by the annotated and the drafted label, and
    wrong boundaries by the label and by what is wrong with them."""
    errors = []
    for row, compared in enumerate(compare_rows(predicted, targets)):
        confidences = {(start, end, label): p for start, end, label, p in predicted[row][0]} if predicted[row] else {}
        for name, draft, span in compared.errors():
            drafted, annotated = () if draft is None else (draft,), () if span is None else (span,)
            confidence = 0.0 if draft is None else confidences[draft]
            errors.append(PartError(row, name, _group(name, draft, span), drafted, annotated, confidence))
    return errors


def _group(name: str, draft: Span | None, span: Span | None) -> str:
    if draft and span and name == WRONG_LABEL:
        return f"{span[2]} -> {draft[2]}"
    if draft and span and name == WRONG_BOUNDARY:
        return f"{span[2]}, {boundary_error(draft, span)}"
    return (span or draft or ("",))[-1]


def boundary_error(draft: Span, span: Span) -> str:
    """What is wrong with the boundaries of a draft that overlaps an annotated span: `too long`, `too short`, or
    `shifted` in one direction."""
    before, after = span[0] - draft[0], draft[1] - span[1]  # characters that the draft has beyond the span
    if before * after < 0:
        return "shifted"
    ends = " and ".join(end for end, characters in (("beginning", before), ("end", after)) if characters)
    return f"too {'long' if before + after > 0 else 'short'} at the {ends}"
