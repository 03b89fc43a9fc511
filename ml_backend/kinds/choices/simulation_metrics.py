"""The metrics of a simulation on test rows."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.evaluation.metrics import calibration_error, f1_scores, is_correct

MIN_ROWS_OF_WORST_CLASS = 5  # test rows; if no class has so many, as many as the largest has


def simulation_metrics(probabilities: Floats, drafted: Mask, targets: Floats, multiple: bool) -> dict[str, float]:
    """The metrics of all test rows by name, from probabilities (n, c), the labels of the drafts (n, c), and targets (n,
    c)."""
    scores, support = _f1(drafted, targets, multiple)
    frequent = scores[support >= min(MIN_ROWS_OF_WORST_CLASS, support.max())]
    return {
        "accuracy": float(is_correct(drafted.astype(np.float32), targets, multiple).mean()),
        "macro_f1": float(scores.mean()),
        "worst_class_f1": float(frequent.min()),
        "calibration_error": calibration_error(probabilities, targets, multiple),
    }


def group_metrics(_: Floats, drafted: Mask, targets: Floats, multiple: bool) -> dict[str, float]:
    """The metrics of a group of the test rows by name, as `simulation_metrics`. The F1 is the mean over the labels in
    the targets of the group."""
    scores, support = _f1(drafted, targets, multiple)
    occurring = scores[support > 0] if support.any() else scores
    return {
        "accuracy": float(is_correct(drafted.astype(np.float32), targets, multiple).mean()),
        "macro_f1": float(occurring.mean()),
    }


def _f1(drafted: Mask, targets: Floats, multiple: bool) -> tuple[Floats, Ints]:
    """F1 and support by label as `f1_scores`, but an F1 of 1 if no label is in the targets or drafted."""
    scores, support = f1_scores(drafted.astype(np.float32), targets, multiple)
    return (scores, support) if len(scores) else (np.ones(1, np.float32), np.zeros(1, np.int64))
