"""Calibrates the confidences of writers by ridge regression: a line from a writer's own confidence to the closeness of
its held-out drafts. It never falls, and it is nearly flat as long as there are few drafts."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.text_drafts import Doubles

N_FOLDS = 5
ALL_TEXTS = N_FOLDS
"""The line of all texts."""
PRIOR_DRAFTS = 10.0
"""Drafts with the variance of the confidences that a slope of 0 counts as."""


def fit_lines(confidences: Doubles, closeness: Doubles, weights: Floats, folds: Ints) -> Doubles:
    """(N_FOLDS + 1, 2) slope and offset of the line for each fold, which is fitted on the other folds, and of the line
    for all drafts. confidences, closeness, weights, folds: (n,) of the held-out drafts"""
    lines = []
    for fold in range(N_FOLDS + 1):
        of_fold = np.asarray(weights, np.float64) * (folds != fold)
        if not of_fold.any():
            of_fold = np.asarray(weights, np.float64)
        mean_confidence, mean_closeness = (np.average(values, weights=of_fold) for values in (confidences, closeness))
        deviations = confidences - mean_confidence
        variance = np.average(np.square(deviations), weights=of_fold)
        covariance = np.average(deviations * closeness, weights=of_fold)
        shrunken = variance * (1 + PRIOR_DRAFTS / of_fold.sum())
        slope = max(covariance / shrunken, 0.0) if shrunken > 0 else 0.0
        lines.append((slope, mean_closeness - slope * mean_confidence))
    return np.array(lines, np.float64)


def calibrated(lines: Doubles, confidences: Doubles) -> Doubles:
    """(n,) in [0, 1]: the confidences by their lines (n, 2)."""
    return np.clip(lines[:, 0] * confidences + lines[:, 1], 0.0, 1.0)
