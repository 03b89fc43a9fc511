"""Curves made by hand, as a simulation would have measured them: what the tests of summary and verdict share."""

from __future__ import annotations

from ml_backend.simulation.learning_curves import Measurement

BUDGETS = (10, 20, 40)


def measured(strategy: str, curves: list[list[float]], first: int = 0) -> list[Measurement]:
    """One row of macro-F1 values for each seed; the other metrics follow from it."""
    found = []
    for seed, curve in enumerate(curves, first):
        for labelled, value in zip(BUDGETS, curve, strict=True):
            metrics = {
                "macro_f1": value,
                "accuracy": value + 0.1,
                "worst_class_f1": value / 2,
                "calibration_error": 0.1,
                "seconds": labelled / 10 + seed,
            }
            found += [Measurement(strategy, seed, labelled, name, "", each) for name, each in metrics.items()]
    return found
