"""Combines the predictions for several controls of a project, so that a query strategy sees one uncertainty per task.

The uncertainties of different kinds of labels, and of learners with more or fewer annotations, are on different scales.
The mean of their ranks depends only on the order in which each control puts the tasks (Borda's method; Dwork, Kumar,
Naor, Sivakumar, "Rank Aggregation Methods for the Web", WWW 2001).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Predictions, UncertaintyMeasure
from ml_backend.core.exceptions import ApprenticeError


class CombinedPredictions:
    """The predictions for p controls, each with a weight. A control of weight 0 does not count. The uncertainty of row
    i of n is

        sum_j w_j rank_j(i) / (n sum_j w_j)

    where rank_j(i) is the rank of the row by the uncertainty of control j among all n rows, from 1 for the lowest to n
    for the highest; rows that are equally uncertain have the mean of their ranks. If a single control counts, its
    uncertainties are returned as they are. If none counts, all uncertainties are 0.
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
            self._uncertainties[measure] = self._mean_ranks(measure)
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

    def _mean_ranks(self, measure: UncertaintyMeasure) -> Floats:
        """(n,) the weighted mean over the controls of each row's rank, divided by n."""
        from scipy.stats import rankdata

        all_rows = np.arange(self._n)
        sums = np.zeros(self._n)
        for part, weight in self._counted:
            sums += weight * rankdata(part.uncertainty(measure, all_rows))
        scale = self._n * sum(weight for _, weight in self._counted)
        return np.asarray(sums / scale if scale else sums, dtype=np.float32)
