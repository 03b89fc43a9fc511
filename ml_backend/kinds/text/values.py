"""The values, targets and predictions of written texts.

A value has one text. A target is a tuple of the different texts that the annotators of a task wrote, the most central
one first. A prediction of a learner is a tuple of

    the draft, a text
    the confidence: the expected closeness in words to the text that the annotator will accept
    the doubt, from 0 to 1, by which query strategies rank
    whether the draft is a copy of the source

and, once the draft was checked, the code of the problem for which it is not shown, of `core.draft_checks`, or "", and,
if an attribute model judges drafts, the probability that the attribute fails. It is () where a learner drafts nothing.
"""

from __future__ import annotations

from typing import Any

Target = tuple[str, ...]
Predicted = tuple[Any, ...]

MIN_CONFIDENCE = 0.5
"""The lowest confidence of a draft that is shown: if annotators are expected to replace most of its words, it is more
work than none."""


def draft_of(row: Predicted | None) -> str:
    """The draft of a prediction, "" if there is none or if it has a problem."""
    return "" if not row or problem_of(row) else str(row[0])


def problem_of(row: Predicted) -> str:
    """The code of the problem of a draft, "" for none and before the draft was checked."""
    return str(row[4]) if len(row) > 4 else ""


def confidence_of(row: Predicted | None) -> float:
    """The confidence in the draft of a prediction, 0 if there is none or if it has a problem."""
    return float(row[1]) if row and draft_of(row) else 0.0


def failure_of(row: Predicted | None) -> float | None:
    """The probability that the attribute fails in the draft of a prediction, None if no attribute model has judged
    it."""
    return float(row[5]) if row and len(row) > 5 else None
