"""The summary of a simulation, as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.simulation import sequential_testing, statistics
from ml_backend.simulation.learning_curves import Measurement, Scores, paired_curves
from ml_backend.simulation.teacher_arms import compare_with_base, is_arm

RANDOM = "random"
FINAL_METRICS = ("closeness", "accuracy", "macro_f1", "worst_class_f1")
COMPARED_METRICS = ("closeness", "macro_f1", "accuracy")
"""Metrics by which strategies are compared: the first one that was measured. Labels with an order have a closeness: an
F1 counts a near label as wrong as a far one. Not every kind of label has an F1."""


def summarise(
    measurements: Sequence[Measurement], protocol: dict[str, Any], tried: Sequence[str] = ()
) -> dict[str, Any]:
    """The content of summary.json: {"strategies": {name: {...}}, "protocol": {...}}, without NaN.

    Each strategy has:

    final              means at the last budget, of the metrics that were measured
    naulc              mean of the compared metric over the budgets, with its interval
    labels_to_target   None: never reached
    seconds_per_round  median; 0 if no round was timed
    vs_random          paired comparison; p_value is not corrected
    groups             only if there are groups: the one with the lowest accuracy at the last budget, that accuracy, and
                       how far the best one is ahead

    The protocol gets, in addition:

    metric          the compared metric, one of COMPARED_METRICS
    measured_at     budgets
    target          mean of the compared metric of random order at the last budget
    paired_seeds    how many seeds all numbers are computed from
    unpaired_seeds  how many other seeds only some strategies finished
    level           significance level for this number of seeds
    corrected_for   how many strategies the p-values are corrected for, without teacher arms
    ends_alike      whether all tasks to choose from, protocol["pool"], were labelled in the end
    against_random  each strategy but random: p_holm, `gain_interval` (of naulc_gain, at `level`), `seeds_to_tell` (how
                    many would decide; None: too many), labels_saved and worst_class_gain (at the last budget) with
                    their intervals; labels are None if the strategy never reaches the target, and a gain without a
                    worst class
    against_base    the gains of teacher arms, see `teacher_arms`

    `tried` are other strategies that were compared with random order on the same data; they make the correction
    stronger. Raises ApprenticeError if random order and all others have no seed in common.
    """
    compared = compared_metric(measurements)
    measured = {measurement.metric for measurement in measurements}
    tables = {metric: paired_curves(measurements, metric) for metric in FINAL_METRICS if metric in measured}
    if not tables or not all(len(values.get(RANDOM, ())) for _, values in tables.values()):
        raise ApprenticeError("There is nothing to compare yet: random and the others have no finished seed in common")
    budgets, curves = tables[compared]
    final = {metric: _last_column(table[1]) for metric, table in tables.items()}
    seconds = paired_curves(measurements, "seconds")[1]
    group_accuracies = {
        group: _last_column(paired_curves(measurements, "accuracy", group)[1])
        for group in sorted({measurement.group for measurement in measurements} - {""})
    }
    areas = {name: statistics.normalised_area(budgets, values) for name, values in curves.items()}
    target = float(curves[RANDOM].mean(axis=0)[-1])
    gains = {name: statistics.paired_difference(area, areas[RANDOM]) for name, area in areas.items() if name != RANDOM}
    strategy_gains = {name: gain for name, gain in gains.items() if not is_arm(name)}
    # a p-value of 1 for strategies without measurements: the correction is never too weak
    unmeasured = {name: 1.0 for name in tried if name not in curves and not is_arm(name)}
    corrected = statistics.holm({name: gain.p_value for name, gain in strategy_gains.items()} | unmeasured)
    seeds = len(curves[RANDOM])
    level = sequential_testing.significance_level(seeds)
    gains[RANDOM] = statistics.PairedDifference(0.0, 0.0, 0.0, 1.0, 0, 0, 0)

    strategies: dict[str, Any] = {}
    against_random: dict[str, Any] = {}
    for name, values in curves.items():
        gain = gains[name]
        strategies[name] = {
            "final": {metric: float(values[name].mean()) for metric, values in final.items()},
            "naulc": {"mean": float(areas[name].mean()), "ci95": _interval(areas[name])},
            "labels_to_target": statistics.labels_to_target(budgets, values.mean(axis=0), target),
            "seconds_per_round": float(np.median(seconds[name])) if seconds[name].size else 0.0,
            "vs_random": {"naulc_gain": gain.gain, "ci95": [gain.low, gain.high], "p_value": gain.p_value}
            | {"wins": gain.wins, "ties": gain.ties, "losses": gain.losses},
        }
        if means := {
            group: float(accuracies[name].mean())
            for group, accuracies in group_accuracies.items()
            if len(accuracies[name])
        }:
            worst = min(means, key=lambda group: means[group])
            gap = max(means.values()) - means[worst]
            strategies[name]["groups"] = {"worst": worst, "worst_accuracy": means[worst], "gap": gap}
        if name not in strategy_gains:
            continue
        saved = statistics.labels_saved(budgets, values, curves[RANDOM])
        worst_class = final.get("worst_class_f1")
        worst_class_gain = worst_class[name] - worst_class[RANDOM] if worst_class else None
        differences = areas[name] - areas[RANDOM]
        standard_deviation = float(differences.std(ddof=1)) if seeds > 1 else math.inf
        against_random[name] = {
            "p_holm": corrected[name],
            "gain_interval": _interval(differences, level),
            "seeds_to_tell": sequential_testing.sufficient_repetitions(
                gain.gain, standard_deviation, len(corrected), seeds
            ),
            "labels_saved": saved.labels,
            "labels_saved_ci95": [saved.low, saved.high],
            "worst_class_gain": None if worst_class_gain is None else float(worst_class_gain.mean()),
            "worst_class_ci95": None if worst_class_gain is None else _interval(worst_class_gain),
        }
    added = {
        "metric": compared,
        "measured_at": budgets.tolist(),
        "target": target,
        "paired_seeds": seeds,
        "unpaired_seeds": len({measurement.seed for measurement in measurements}) - seeds,
        "level": level,
        "corrected_for": len(corrected),
        "ends_alike": int(budgets[-1]) >= protocol.get("pool", math.inf),
        "against_random": against_random,
        "against_base": compare_with_base(measurements, compared, tried),
    }
    return {"strategies": strategies, "protocol": {**protocol, **added}}


def compared_metric(measurements: Sequence[Measurement]) -> str:
    """The metric by which the strategies are compared."""
    measured = {measurement.metric for measurement in measurements}
    return next((metric for metric in COMPARED_METRICS if metric in measured), COMPARED_METRICS[0])


def _last_column(values: dict[str, Scores]) -> dict[str, Scores]:
    """The values of each strategy at the last budget, (seeds,)."""
    return {name: rows[:, -1:].ravel() for name, rows in values.items()}


def _interval(values: Scores, level: float = 0.05) -> list[float]:
    low, high = statistics.interval(values, level)
    return [float(low), float(high)]
