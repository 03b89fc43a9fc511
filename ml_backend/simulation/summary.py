"""The summary of a simulation, as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.kinds.base import ACCURACY
from ml_backend.simulation import sequential_testing, statistics
from ml_backend.simulation.effort import AXES, Efforts
from ml_backend.simulation.learning_curves import Measurement, Scores, paired_curves
from ml_backend.simulation.teacher_arms import TEACHER_PREFIX, compare_with_base, is_arm

RANDOM = registry.RANDOM_ORDER
FINAL_METRICS = ("closeness", "accuracy", "macro_f1", "worst_class_f1")
"""Metrics whose values at the end are reported first; the other metrics of a kind of labels follow."""
NOT_FINAL = ("calibration_error", "seconds", *AXES)
COMPARED_METRICS = ("closeness", "macro_f1")
"""Metrics by which strategies are compared: the first one that was measured, else the main metric of the kind of
labels. Labels with an order have a closeness: an F1 counts a near label as wrong as a far one."""


def summarise(
    measurements: Sequence[Measurement],
    protocol: dict[str, Any],
    tried: Sequence[str] = (),
    main_metric: str = ACCURACY,
) -> dict[str, Any]:
    """The content of summary.json: {"strategies": {name: {...}}, "protocol": {...}}, without NaN.

    The entry `x` of the protocol is the axis of effort on which strategies are compared (see `effort`); without it, the
    number of labels. `main_metric`: of the kind of labels

    Each strategy has:

    final              means at the last budget, of the metrics that were measured
    naulc              mean of the compared metric over the budgets, with its interval
    labels_to_target   None: never reached
    effort             with `x`, for each axis: what was needed for the target (`to_target`; None: never reached), and
                       in all (`end`)
    seconds_per_round  median; 0 if no round was timed
    vs_random          paired comparison; p_value is not corrected
    groups             only if there are groups: the one with the lowest accuracy at the last budget, that accuracy, and
                       how far the best one is ahead; without an accuracy, the same of the compared metric

    The protocol gets, in addition:

    metric          the compared metric
    compared_range  with `x`, the range of that axis over which the compared metric is averaged: mean start and end of
                    the part that all strategies of a repetition have in common
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
                    worst class. With `x`, `effort_saved`: the same as labels_saved for each axis, as `mean` and `ci95`
    against_base    the gains of teacher arms, see `teacher_arms`

    `tried` are other strategies that were compared with random order on the same data; they make the correction
    stronger. Raises ApprenticeError if random order and all others have no seed in common.
    """
    measured = dict.fromkeys(measurement.metric for measurement in measurements)
    compared = next((metric for metric in COMPARED_METRICS if metric in measured), main_metric)
    others = (name for name in measured if name not in NOT_FINAL and not name.startswith(TEACHER_PREFIX))
    final_metrics = [metric for metric in dict.fromkeys([*FINAL_METRICS, compared, *others]) if metric in measured]
    tables = {metric: paired_curves(measurements, metric) for metric in final_metrics}
    tables = {metric: table for metric, table in tables.items() if len(table[1].get(RANDOM, ()))}
    if compared not in tables:
        raise ApprenticeError("There is nothing to compare yet: random and the others have no finished seed in common")
    budgets, curves = tables[compared]
    final = {metric: _last_column(table[1]) for metric, table in tables.items()}
    seconds = paired_curves(measurements, "seconds")[1]
    group_metric = ACCURACY if ACCURACY in measured else compared
    group_scores = {
        group: _last_column(paired_curves(measurements, group_metric, group)[1])
        for group in sorted({measurement.group for measurement in measurements} - {""})
    }
    efforts = Efforts.of(measurements, compared, protocol.get("x", ""))
    start, end = efforts.common_range()
    areas = {
        name: statistics.area_of_range(efforts.compared[name], values, start, end) for name, values in curves.items()
    }
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
        if means := {group: float(scores[name].mean()) for group, scores in group_scores.items() if len(scores[name])}:
            worst = min(means, key=lambda group: means[group])
            gap = max(means.values()) - means[worst]
            strategies[name]["groups"] = {"worst": worst, f"worst_{group_metric}": means[worst], "gap": gap}
        if efforts.by_axis:
            strategies[name]["effort"] = efforts.needs(name, values, target)
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
        if efforts.by_axis:
            against_random[name]["effort_saved"] = efforts.savings(name, values, RANDOM, curves[RANDOM])
    added = {
        "metric": compared,
        **({"compared_range": [float(start.mean()), float(end.mean())]} if efforts.by_axis else {}),
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


def _last_column(values: dict[str, Scores]) -> dict[str, Scores]:
    """The values of each strategy at the last budget, (seeds,)."""
    return {name: rows[:, -1:].ravel() for name, rows in values.items()}


def _interval(values: Scores, level: float = 0.05) -> list[float]:
    low, high = statistics.interval(values, level)
    return [float(low), float(high)]
