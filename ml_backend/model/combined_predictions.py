"""Combines the predictions for several controls of a project, so that a query strategy sees one uncertainty per task.

The uncertainties of different kinds of labels, and of learners with more or fewer annotations, are on different scales.
Their ranks depend only on the order in which each control puts the tasks. A task has the best of its ranks, as with the
alternating selection of Reichart, Tomanek, Hahn and Rappoport, "Multi-Task Active Learning for Linguistic Annotations"
(ACL 2008): the mean of the ranks, their rank combination, prefers tasks that no control needs most.

A query strategy may also use how much more uncertain one task is than another. The best ranks do not say that: they are
high for most tasks. So each rank is replaced by the mean of the uncertainties that the controls have at this rank, as
in the quantile normalisation of Bolstad, Irizarry, Astrand and Speed, "A comparison of normalization methods for high
density oligonucleotide array data based on variance and bias" (Bioinformatics 2003). Results:
benchmarks/2026-11-30-joint-queue.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Predictions, UncertaintyMeasure
from ml_backend.core.exceptions import ApprenticeError


class CombinedPredictions:
    """The predictions for p controls, each with a weight. A control of weight 0 does not count. The uncertainty of row
    i of n is

        Q(max_j (n - (n - rank_j(i)) max_k w_k / w_j)),    Q(r) = sum_j w_j u_j(r) / sum_j w_j

    where rank_j(i) is the rank of the row by the uncertainty of control j among all n rows, from 1 for the lowest to n
    for the highest; rows that are equally uncertain have the mean of their ranks. u_j(r) is the r-th lowest uncertainty
    of control j, linear between whole ranks; below 1, it is the lowest one. So the shares of the controls in the most
    uncertain rows are as their weights, and controls that agree on all uncertainties keep them. If a single control
    counts, its uncertainties are returned as they are. If none counts, all uncertainties are 0.
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
            self._uncertainties[measure] = self._combined_uncertainty(measure)
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

    def _combined_uncertainty(self, measure: UncertaintyMeasure) -> Floats:
        """(n,) the uncertainty of each row, see above."""
        from scipy.stats import rankdata

        if not self._counted or not self._n:
            return np.zeros(self._n, np.float32)
        all_rows, ranks = np.arange(self._n), np.arange(1, self._n + 1)
        best, mean_at_rank = np.zeros(self._n), np.zeros(self._n)
        weights = [weight for _, weight in self._counted]
        for part, weight in self._counted:
            uncertainties = part.uncertainty(measure, all_rows)
            best = np.maximum(best, self._n - (self._n - rankdata(uncertainties)) * max(weights) / weight)
            mean_at_rank += np.sort(uncertainties) * (weight / sum(weights))
        return np.asarray(np.interp(best, ranks, mean_at_rank), np.float32)
