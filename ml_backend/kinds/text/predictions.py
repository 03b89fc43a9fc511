"""The predicted texts, as query strategies see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Rows, UncertaintyMeasure


@dataclass(frozen=True, slots=True)
class TextPredictions:
    """The doubts of n drafts, (n,) float32: 1 where a learner drafts nothing, NaN in missing rows."""

    doubts: Floats

    @classmethod
    def of(cls, predicted: Rows) -> TextPredictions:
        doubts = [np.nan if row is None else row[2] if row else 1.0 for row in predicted]
        return cls(np.array(doubts, np.float32))

    def __len__(self) -> int:
        return len(self.doubts)

    def take(self, rows: Ints) -> TextPredictions:
        return TextPredictions(self.doubts[rows])

    def is_finite(self) -> Mask:
        return np.asarray(np.isfinite(self.doubts))

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        """(m,) the doubt of the learner, by any measure."""
        return self.doubts[rows]

    def gradient_residuals(self, rows: Ints) -> None:
        """None, because texts have no class probabilities."""
        return
