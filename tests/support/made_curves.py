"""Hand-made learning curves for the tests of summary and recommendation."""

from __future__ import annotations

from ml_backend.simulation.learning_curves import Measurement

BUDGETS = (10, 20, 40)


def measured(strategy: str, curves: list[list[float]], first: int = 0) -> list[Measurement]:
    """Measurements with one row of macro-F1 values for each seed; the other metrics are computed from them."""
    measurements = []
    for seed, curve in enumerate(curves, first):
        for labelled, macro_f1 in zip(BUDGETS, curve, strict=True):
            metrics = {
                "macro_f1": macro_f1,
                "accuracy": macro_f1 + 0.1,
                "worst_class_f1": macro_f1 / 2,
                "calibration_error": 0.1,
                "seconds": labelled / 10 + seed,
            }
            measurements += [Measurement(strategy, seed, labelled, name, "", value) for name, value in metrics.items()]
    return measurements
