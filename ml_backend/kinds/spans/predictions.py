"""The predicted spans of texts, as query strategies see them.

A prediction is a tuple of the candidates, each (start, end, label, probability), and of the uncertainty of the text's
tags, or None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows, UncertaintyMeasure
from ml_backend.kinds.spans.decoding import Candidate, without_overlaps


def candidates_of(predicted: Rows) -> list[tuple[Candidate, ...]]:
    """The candidates of each text, () for a missing row."""
    return [() if row is None else row[0] for row in predicted]


def drafted(candidates: Iterable[Candidate], threshold: float) -> tuple[Candidate, ...]:
    """The candidates of one text that are drafted, in the order of the text."""
    return without_overlaps(candidate for candidate in candidates if candidate[3] >= threshold)


@dataclass(frozen=True, slots=True)
class SpanPredictions:
    """Predicted spans, (n,) objects."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Ints) -> SpanPredictions:
        return SpanPredictions(self.rows[rows])

    def is_finite(self) -> Mask:
        return np.array([row is not None for row in self.rows], np.bool_)

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        """(m,) the sum of the entropies of the words' tags, u, as u / (1 + u); for "least confidence", 1 minus the
        certainty of the least sure candidate, the distance of its probability from one half."""
        values = []
        for row in self.rows[rows]:
            if row is None:
                values.append(np.nan)
            elif measure == "least confidence":
                values.append(max((1 - 2 * abs(p - 0.5) for *_, p in row[0]), default=0.0))
            else:
                values.append(row[1] / (1 + row[1]))
        return np.array(values, np.float32)

    def gradient_residuals(self, rows: Ints) -> None:
        return None
