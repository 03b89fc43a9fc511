"""Combines the predictions for several controls of a project, so that a query strategy sees one uncertainty per task.

The uncertainties of different kinds of labels, and of learners with more or fewer annotations, are on different scales.
Their ranks depend only on the order in which each control puts the tasks. A task has the best of its ranks, as with the
alternating selection of Reichart, Tomanek, Hahn and Rappoport, "Multi-Task Active Learning for Linguistic Annotations"
(ACL 2008): the mean of the ranks, their rank combination, prefers tasks that no control needs most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Predictions, UncertaintyMeasure
from ml_backend.core.exceptions import ApprenticeError


class CombinedPredictions:
    """The predictions for p controls, each with a weight. A control of weight 0 does not count. The uncertainty of row
    i of n is

        max_j (1 - (1 - rank_j(i) / n) max_k w_k / w_j)

    where rank_j(i) is the rank of the row by the uncertainty of control j among all n rows, from 1 for the lowest to n
    for the highest; rows that are equally uncertain have the mean of their ranks. So the shares of the controls in the
    most uncertain rows are as their weights. If a single control counts, its uncertainties are returned as they are. If
    none counts, all uncertainties are 0.
    """

    def __init__(self, parts: Sequence[Predictions], weights: Floats) -> None:
        """parts: the predictions for p >= 1 controls, row-aligned; weights: (p,) >= 0. Raises ApprenticeError if the
        parts differ in their numbers of rows."""
        lengths = [len(part) for part in parts]
        if len(set(lengths)) != 1:
            raise ApprenticeError(f"The predictions for the controls have {lengths} rows. They must be aligned.")
        self._n = lengths[0]
        self._parts, self._weights = parts, weights
        self._counted = [
            (part, float(weight)) for part, weight in zip(parts, weights.tolist(), strict=True) if weight > 0
        ]
        self._uncertainties: dict[UncertaintyMeasure, Floats] = {}  # (n,) of all rows, by measure

    def __len__(self) -> int:
        return self._n

    def take(self, rows: Ints) -> CombinedPredictions:
        """The predictions for these rows alone, which are ranked among each other."""
        return CombinedPredictions([part.take(rows) for part in self._parts], self._weights)

    def is_finite(self) -> Mask:
        finite = np.ones(self._n, np.bool_)
        for part, _ in self._counted:
            finite &= part.is_finite()
        return finite

    def uncertainty(self, measure: UncertaintyMeasure, rows: Ints) -> Floats:
        if len(self._counted) == 1:
            return self._counted[0][0].uncertainty(measure, rows)
        if measure not in self._uncertainties:
            self._uncertainties[measure] = self._best_ranks(measure)
        return self._uncertainties[measure][rows]

    def gradient_residuals(self, rows: Ints) -> Floats | None:
        """(m, r) the residuals of the controls side by side, each multiplied by the square root of the control's
        weight, so that a squared distance of gradients is the weighted sum of those of the controls. If a single
        control counts, its residuals are returned as they are. None if a control that counts has none."""
        residuals: list[Floats] = []
        for part, weight in self._counted:
            part_residuals = part.gradient_residuals(rows)
            if part_residuals is None:
                return None
            residuals.append(part_residuals if len(self._counted) == 1 else part_residuals * np.float32(weight**0.5))
        return np.concatenate([np.empty((len(rows), 0), np.float32), *residuals], axis=1)

    def _best_ranks(self, measure: UncertaintyMeasure) -> Floats:
        """(n,) the uncertainty of each row, see above."""
        from scipy.stats import rankdata

        all_rows = np.arange(self._n)
        best = np.zeros(self._n)  # the control with the highest weight has no value below 0
        highest_weight = max((weight for _, weight in self._counted), default=1.0)
        for part, weight in self._counted:
            shares_above = 1 - rankdata(part.uncertainty(measure, all_rows)) / self._n
            best = np.maximum(best, 1 - shares_above * highest_weight / weight)
        return np.asarray(best, np.float32)
