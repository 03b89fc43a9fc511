"""Finds annotations that have probably missed a span."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Mask, Rows
from ml_backend.kinds.base import SuspectedError
from ml_backend.kinds.spans.scoring import compare, overlap
from ml_backend.kinds.spans.values import spans_of

MIN_PROBABILITY = 0.8
"""Held-out probability from which a span that no annotator has marked is probably missing."""


def find_missed_spans(predicted: Rows, targets: Rows, protected: Mask, budget: int) -> list[SuspectedError]:
    """At most `budget` rows in which a held-out prediction is sure of a span that is not annotated, the surest first.
    The proposal has these spans with their probabilities, and the annotated spans that they do not overlap with the
    share of the annotators who have marked them, so that people see on the labelling screen which spans are
    proposed."""
    suspects = []
    for row in np.flatnonzero(~protected).tolist():
        if predicted[row] is None:
            continue
        compared = compare(predicted[row], targets[row])
        sure = [span for span in predicted[row][0] if span[3] >= MIN_PROBABILITY]
        missed = tuple(span for span in sure if span[:3] in compared.drafted - compared.annotated)
        if missed:
            annotated, _ = targets[row]
            overlapped = [span for span in annotated if any(overlap(span[:3], other[:3]) for other in missed)]
            kept, removed = [span for span in annotated if span not in overlapped], spans_of(overlapped)
            confidence = round(max(span[3] for span in missed), 4)
            suspects.append(SuspectedError(row, tuple(sorted([*kept, *missed])), confidence, missed, removed))
    return sorted(suspects, key=lambda suspect: -suspect.confidence)[:budget]
