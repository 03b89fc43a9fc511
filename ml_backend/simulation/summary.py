"""A simulation in one JSON object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.simulation import sequential_testing, statistics
from ml_backend.simulation.learning_curves import Measurement, Scores, table
from ml_backend.simulation.teacher_arms import against_base, is_arm

RANDOM = "random"
FINAL = ("accuracy", "macro_f1", "worst_class_f1")


def summarise(
    measurements: Sequence[Measurement], protocol: dict[str, Any], tried: Sequence[str] = ()
) -> dict[str, Any]:
    """What report/summary.json holds: {"strategies": {name: {...}}, "protocol": {...}}, without NaN.

    Of each strategy: `final` (means at the last budget), `naulc` (mean macro-F1 over the budgets, with its interval),
    `labels_to_target` (None: never), `seconds_per_round` (median; 0 if no round was timed), `vs_random` (paired;
    p_value not corrected), and `groups` where there are groups: the one with the lowest accuracy at the last budget,
    that accuracy, and how far the best one is ahead.
    To the protocol are added: `measured_at` (budgets), `target` (random's mean macro-F1 at the last budget),
    `paired_seeds` (all numbers are over these), `unpaired_seeds` (how many others only some strategies finished),
    `level` (what p has to be below with so many seeds), `corrected_for` (how many strategies; arms of a teacher are
    none, see `arms`), `ends_alike` (whether all that there is to choose from, protocol["pool"], was labelled in the
    end), and for each strategy but random
    `against_random`: p_holm, `gain_interval` (of naulc_gain, at `level`), `seeds_to_tell` (how many would tell; None:
    too many), labels_saved and worst_class_gain (at the last budget), with their intervals; labels are None where the
    strategy never reaches the target. `against_base` is what a teacher added, see `arms`.
    `tried` are other strategies that were compared with random on the same data: they make the correction stronger.
    Raises ApprenticeError if random and all others have no seed in common.
    """
    tables = {metric: table(measurements, metric) for metric in FINAL}
    if not all(len(values.get(RANDOM, ())) for _, values in tables.values()):
        raise ApprenticeError("There is nothing to compare yet: random and the others have no finished seed in common")
    budgets, curves = tables["macro_f1"]
    final = {metric: _last(tables[metric][1]) for metric in FINAL}
    seconds = table(measurements, "seconds")[1]
    groups = {
        group: _last(table(measurements, "accuracy", group)[1])
        for group in sorted({each.group for each in measurements} - {""})
    }
    areas = {name: statistics.normalised_area(budgets, values) for name, values in curves.items()}
    target = float(curves[RANDOM].mean(axis=0)[-1])
    gains = {name: statistics.paired(area, areas[RANDOM]) for name, area in areas.items() if name != RANDOM}
    rivals = {name: each for name, each in gains.items() if not is_arm(name)}
    # others count as if they had found nothing: never too lenient
    unseen = {name: 1.0 for name in tried if name not in curves and not is_arm(name)}
    corrected = statistics.holm({name: each.p_value for name, each in rivals.items()} | unseen)
    seeds, level = len(curves[RANDOM]), sequential_testing.level(len(curves[RANDOM]))
    gains[RANDOM] = statistics.PairedDifference(0.0, 0.0, 0.0, 1.0, 0, 0, 0)

    strategies: dict[str, Any] = {}
    against: dict[str, Any] = {}
    for name, values in curves.items():
        gain = gains[name]
        strategies[name] = {
            "final": {metric: float(final[metric][name].mean()) for metric in FINAL},
            "naulc": {"mean": float(areas[name].mean()), "ci95": _pair(areas[name])},
            "labels_to_target": statistics.labels_to_target(budgets, values.mean(axis=0), target),
            "seconds_per_round": float(np.median(seconds[name])) if seconds[name].size else 0.0,
            "vs_random": {"naulc_gain": gain.gain, "ci95": [gain.low, gain.high], "p_value": gain.p_value}
            | {"wins": gain.wins, "ties": gain.ties, "losses": gain.losses},
        }
        if scores := {group: float(of[name].mean()) for group, of in groups.items() if len(of[name])}:
            worst = min(scores, key=lambda group: scores[group])
            gap = max(scores.values()) - scores[worst]
            strategies[name]["groups"] = {"worst": worst, "worst_accuracy": scores[worst], "gap": gap}
        if name not in rivals:
            continue
        saved = statistics.labels_saved(budgets, values, curves[RANDOM])
        weakest = final["worst_class_f1"][name] - final["worst_class_f1"][RANDOM]
        apart = areas[name] - areas[RANDOM]
        spread = float(apart.std(ddof=1)) if seeds > 1 else math.inf
        against[name] = {
            "p_holm": corrected[name],
            "gain_interval": _pair(apart, level),
            "seeds_to_tell": sequential_testing.enough(gain.gain, spread, len(corrected), seeds),
            "labels_saved": saved.labels,
            "labels_saved_ci95": [saved.low, saved.high],
            "worst_class_gain": float(weakest.mean()),
            "worst_class_ci95": _pair(weakest),
        }
    added = {
        "measured_at": budgets.tolist(),
        "target": target,
        "paired_seeds": seeds,
        "unpaired_seeds": len({each.seed for each in measurements}) - seeds,
        "level": level,
        "corrected_for": len(corrected),
        "ends_alike": int(budgets[-1]) >= protocol.get("pool", math.inf),
        "against_random": against,
        "against_base": against_base(measurements, tried),
    }
    return {"strategies": strategies, "protocol": {**protocol, **added}}


def _last(values: dict[str, Scores]) -> dict[str, Scores]:
    """Of each strategy (seeds,): its values at the last budget."""
    return {name: rows[:, -1:].ravel() for name, rows in values.items()}


def _pair(values: Scores, level: float = 0.05) -> list[float]:
    low, high = statistics.interval(values, level)
    return [float(low), float(high)]
