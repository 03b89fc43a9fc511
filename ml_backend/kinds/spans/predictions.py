"""The predicted spans of texts, as query strategies see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows, UncertaintyMeasure

ENTROPY, LOG_PROBABILITY, LEAST_SURE = range(3)
"""The measures of uncertainty in a prediction: the sum of the entropies of the words' tags, in nats; minus the
logarithm of the probability of the most probable tags, per word; and 1 - |2 p - 1| for the span with the probability p
nearest to one half."""


@dataclass(frozen=True, slots=True)
class SpanPredictions:
    """The measures of uncertainty of n predictions, (n, 3) float32; NaN in missing rows."""

    measures: Floats

    @classmethod
    def of(cls, predicted: Rows) -> SpanPredictions:
        missing = (np.nan,) * 3
        measures = [missing if row is None else row[2] for row in predicted]
        return cls(np.array(measures, np.float32).reshape(-1, 3))

    def __len__(self) -> int:
        return len(self.measures)

    def take(self, rows: Ints) -> SpanPredictions:
        return SpanPredictions(self.measures[rows])

    def is_finite(self) -> Mask:
        return np.asarray(np.isfinite(self.measures).all(axis=1))

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        """(m,) "entropy": the sum h of the entropies, as h / (1 + h) (total token entropy in Settles and Craven, "An
        Analysis of Active Learning Strategies for Sequence Labeling Tasks", EMNLP 2008). "margin": the probability p of
        the most probable tags of t words, as 1 - p^(1/t) (maximum normalized log-probability in Shen et al., "Deep
        Active Learning for Named Entity Recognition", ICLR 2018). "least confidence": that of the least sure span."""
        entropies, log_probabilities, least_sure = self.measures[rows].T
        if measure == "entropy":
            return np.asarray(entropies / (1 + entropies))
        return np.asarray(least_sure if measure == "least confidence" else -np.expm1(-log_probabilities))

    def gradient_residuals(self, rows: Ints) -> None:
        """None, because spans have no class probabilities."""
        return


def no_span_probability(probabilities: Iterable[float]) -> float:
    """The probability that none of some independent spans is right."""
    return float(np.prod([1 - p for p in probabilities]))
