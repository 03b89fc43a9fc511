"""The gain and the cost of a simulated teacher, compared with the strategy alone.

An arm is a strategy with a simulated teacher. Whether a teacher helps is another question than which strategy is best,
so arms are compared and corrected apart from the strategies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ml_backend.simulation import sequential_testing, statistics
from ml_backend.simulation.learning_curves import Measurement, paired_curves

COST_METRICS = ("calls", "tokens", "cost")
TEACHER_PREFIX = "teacher_"  # of the names of these metrics
SEPARATOR = " + "  # between strategy and arm; no strategy has it in its name


def arm_name(strategy: str, arm: str, rounds: int, per_round: int) -> str:
    return f"{strategy}{SEPARATOR}{arm} ({rounds} x {per_round})"


def is_arm(name: str) -> bool:
    return SEPARATOR in name


def compare_with_base(measurements: Sequence[Measurement], metric: str, tried: Collection[str] = ()) -> dict[str, Any]:
    """Compares each arm with its strategy alone by a metric, where both have measurements.

    Each arm has the strategy `base`, the `gain` in normalised area under the metric with its `interval` at `level`,
    `p_holm` corrected for `corrected_for` arms (including those `tried` on the same data), `wins` of `seeds`, and the
    means of `calls`, `tokens` and `cost` of a repetition.
    """
    budgets, curves = paired_curves(measurements, metric)
    comparisons: dict[str, Any] = {}
    for name in filter(is_arm, curves):
        base = name.split(SEPARATOR)[0]
        if not len(curves[name]) or not len(curves.get(base, ())):
            continue
        areas, base_areas = (statistics.normalised_area(budgets, curves[strategy]) for strategy in (name, base))
        difference, level = (
            statistics.paired_difference(areas, base_areas),
            sequential_testing.significance_level(len(areas)),
        )
        low, high = statistics.interval(areas - base_areas, level)
        arm_measurements = [measurement for measurement in measurements if measurement.strategy == name]
        costs = {
            cost: float(paired_curves(arm_measurements, f"{TEACHER_PREFIX}{cost}")[1][name][:, -1].mean())
            for cost in COST_METRICS
        }
        comparisons[name] = {
            "base": base, "gain": difference.gain, "interval": [float(low), float(high)], "level": level,
            "p_value": difference.p_value, "wins": difference.wins, "seeds": len(areas), **costs,
        }  # fmt: skip
    unmeasured = {name: 1.0 for name in tried if is_arm(name) and name not in comparisons}
    p_values = {name: comparison.pop("p_value") for name, comparison in comparisons.items()}
    corrected = statistics.holm(p_values | unmeasured)
    return {
        name: {**comparison, "p_holm": corrected[name], "corrected_for": len(corrected)}
        for name, comparison in comparisons.items()
    }
