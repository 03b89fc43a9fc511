"""The predictions of a learner for one Choices control, as query strategies see them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, UncertaintyMeasure
from ml_backend.kinds.choices.uncertainty import MEASURES


@dataclass(frozen=True, slots=True)
class ChoicePredictions:
    """Predicted probabilities of the labels of a control.

    probabilities    (n, c) float32
    multiple         whether several labels may hold at once
    skips_undecided  whether rows whose labels are all equally probable have no uncertainty, because nothing can be
                     learnt from them: comparisons of equal texts
    """

    probabilities: Floats
    multiple: bool
    skips_undecided: bool = False

    def __len__(self) -> int:
        return len(self.probabilities)

    def take(self, rows: Ints) -> ChoicePredictions:
        return replace(self, probabilities=self.probabilities[rows])

    def is_finite(self) -> Mask:
        if np.isfinite(self.probabilities.sum(dtype=np.float64)):  # several times as fast as the check of each number
            return np.ones(len(self), np.bool_)
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        uncertainties = MEASURES[measure](self.probabilities[rows], self.multiple)
        if self.skips_undecided:
            uncertainties[np.ptp(self.probabilities[rows], axis=1) == 0] = 0
        return uncertainties

    def gradient_residuals(self, rows: Ints) -> Floats:
        """(m, c) the probabilities minus 1 at the likeliest label. If several labels may hold at once, each label is a
        question of its own: the probabilities minus 1 at each label that is likelier than not."""
        residuals = np.array(self.probabilities[rows], dtype=np.float32)
        if self.multiple:
            residuals -= residuals >= 0.5
        else:
            residuals[np.arange(len(rows)), residuals.argmax(axis=1)] -= 1.0
        return residuals
