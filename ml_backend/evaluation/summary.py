"""A simulation in one JSON object, and that in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from typing import Any

import numpy as np

from ml_backend.domain import ApprenticeError
from ml_backend.evaluation import statistics
from ml_backend.evaluation.curves import Measurement, Scores, table

RANDOM = "random"
FINAL = ("accuracy", "macro_f1", "worst_class_f1")
ALPHA = 0.05


def summarise(measurements: Sequence[Measurement], protocol: dict[str, Any]) -> dict[str, Any]:
    """What report/summary.json holds: {"strategies": {name: {...}}, "protocol": {...}}, without NaN.

    Of each strategy: `final` (means at the last budget), `naulc` (mean macro-F1 over the budgets, with its interval),
    `labels_to_target` (None: never), `seconds_per_round` (median; 0 if no round was timed), `vs_random` (paired;
    p_value not corrected), and `groups` where there are groups: the one with the lowest accuracy at the last budget,
    that accuracy, and how far the best one is ahead.
    To the protocol are added: `measured_at` (budgets), `target` (random's mean macro-F1 at the last budget),
    `paired_seeds` (all numbers are over these), `unpaired_seeds` (how many others only some strategies finished), and
    for each strategy but random `against_random`: p_holm, labels_saved and worst_class_gain (at the last budget), with
    their intervals; labels are None where the strategy never reaches the target.
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
    corrected = statistics.holm({name: each.p_value for name, each in gains.items()})
    gains[RANDOM] = statistics.Paired(0.0, 0.0, 0.0, 1.0, 0, 0, 0)

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
        if name == RANDOM:
            continue
        saved = statistics.labels_saved(budgets, values, curves[RANDOM])
        weakest = final["worst_class_f1"][name] - final["worst_class_f1"][RANDOM]
        against[name] = {
            "p_holm": corrected[name],
            "labels_saved": saved.labels,
            "labels_saved_ci95": [saved.low, saved.high],
            "worst_class_gain": float(weakest.mean()),
            "worst_class_ci95": _pair(weakest),
        }
    added = {
        "measured_at": budgets.tolist(),
        "target": target,
        "paired_seeds": len(curves[RANDOM]),
        "unpaired_seeds": len({each.seed for each in measurements}) - len(curves[RANDOM]),
        "against_random": against,
    }
    return {"strategies": strategies, "protocol": {**protocol, **added}}


def _last(values: dict[str, Scores]) -> dict[str, Scores]:
    """Of each strategy (seeds,): its values at the last budget."""
    return {name: rows[:, -1:].ravel() for name, rows in values.items()}


def _pair(values: Scores) -> list[float]:
    low, high = statistics.interval(values)
    return [float(low), float(high)]


def verdict(summary: dict[str, Any]) -> str:
    """What `summarise` found, a sentence or two a line; the first line is the answer.

    A strategy is recommended, or called worse, only if the interval of its gain excludes 0 and its p-value, corrected
    for the number of strategies, is below 5 %. Too few seeds are those with which no p-value could be that low.
    """
    protocol = summary["protocol"]
    against, seeds, unpaired = protocol["against_random"], protocol["paired_seeds"], protocol["unpaired_seeds"]
    gains = {name: summary["strategies"][name]["vs_random"] for name in against}
    names = sorted(gains, key=lambda name: -gains[name]["naulc_gain"])
    sure = [name for name in names if against[name]["p_holm"] < ALPHA]
    better = [name for name in sure if gains[name]["ci95"][0] > 0]
    worse = [name for name in sure if gains[name]["ci95"][1] < 0]
    needed = math.floor(math.log2(max(1, len(names)) / ALPHA)) + 2  # the least p of n seeds is 2 ** (1 - n)
    if not names:
        lines = ["Only random order was measured: there is nothing to compare it with."]
    elif seeds < needed:
        lines = [
            "Too few repetitions (seeds) to say.",
            f"Comparing {_count(names)} with random order takes at least {needed}, not {seeds}: with fewer, even one "
            "that is ahead every time may only have been lucky.",
            f"The best so far is {names[0]}. {_gain(names[0], summary)}",
        ]
    elif better:
        best, *rest = better
        early = ", but only if you will stop early" if summary["strategies"][best]["labels_to_target"] is None else ""
        lines = [f"Use {best} on this data{early}."]
        lines += [_saving(best, summary), _gain(best, summary), _weakest(best, summary)]
        if rest:
            lines.append(
                f"Also better than random order, {_points_of(rest, gains)}. Not tested: whether {best} is better."
            )
    elif gains[names[0]]["ci95"][0] > 0:
        lines = [
            "Not sure yet: repeat it with more seeds, the finished ones are kept.",
            f"The best so far is {names[0]}. {_gain(names[0], summary)}",
        ]
    else:
        lines = ["Nothing was shown to beat random order on this data: stay with random order."]
        if names[0] not in worse:
            lines.append(f"The best of the others is {names[0]}. {_gain(names[0], summary)} That can be chance.")
    if worse:
        lines.append(f"Do not use what is worse than random order, {_points_of(worse, gains)}.")
    if unpaired:
        lines.append(f"Not counted: {unpaired} repetitions (seeds) that not every strategy has finished.")
    return "\n".join(lines)


def _saving(name: str, summary: dict[str, Any]) -> str:
    protocol, strategies = summary["protocol"], summary["strategies"]
    target, last, found = protocol["target"], protocol["measured_at"][-1], protocol["against_random"][name]
    needs, randoms = (strategies[each]["labels_to_target"] for each in (name, RANDOM))
    if needs is None:
        return f"It learns faster at first, but with {last} labels it ends below the {target:.3f} of random order."
    low, high = (f"not within {last}" if end is None else _fewer(end) for end in found["labels_saved_ci95"])
    return (
        f"It needs about {needs:.0f} labels for a macro-F1 of {target:.3f}, random order {randoms:.0f}: "
        f"{_fewer(found['labels_saved'])} (95 % interval: {low} to {high})."
    )


def _fewer(saved: float) -> str:
    return f"{abs(saved):.0f} {'fewer' if saved >= 0 else 'more'}"


def _gain(name: str, summary: dict[str, Any]) -> str:
    protocol, found = summary["protocol"], summary["strategies"][name]["vs_random"]
    first, last = protocol["measured_at"][0], protocol["measured_at"][-1]
    gain = _points(found["naulc_gain"])
    side = "below" if gain.startswith("-") else "above"
    equal = f", equal in {found['ties']}" if found["ties"] else ""
    p_value = protocol["against_random"][name]["p_holm"]
    told = (
        f"Averaged from {first} to {last} labels, its macro-F1 is {gain[1:]} points (hundredths) {side} that of random"
    )
    if protocol["paired_seeds"] == 1:
        return f"{told} order."
    return (
        f"{told} order (95 % interval: {_span(found['ci95'])}). It was ahead in {found['wins']} of "
        f"{protocol['paired_seeds']} repetitions{equal} (p {'< 0.001' if p_value < 0.001 else f'= {p_value:.2g}'}, "
        f"Wilcoxon signed-rank test, corrected for {_count(protocol['against_random'])})."
    )


def _points_of(names: Sequence[str], gains: dict[str, Any]) -> str:
    said = (f"{name} {_points(gains[name]['naulc_gain'])} ({_span(gains[name]['ci95'])})" for name in names)
    return f"in points of macro-F1 with 95 % intervals: {', '.join(said)}"


def _weakest(name: str, summary: dict[str, Any]) -> str:
    found = summary["protocol"]["against_random"][name]
    ours, randoms = (summary["strategies"][each]["final"]["worst_class_f1"] for each in (name, RANDOM))
    low, high = found["worst_class_ci95"]
    return (
        f"The weakest class ends with an F1 of {ours:.3f}, with random order {randoms:.3f}: "
        f"{_points(found['worst_class_gain'])} points (95 % interval: {_span([low, high])})"
        f"{', which can be chance' if low <= 0 <= high else ''}."
    )


def _points(share: float) -> str:
    """Hundredths, with their sign: one decimal, of small ones the first digit that is not 0."""
    return f"{100 * share:+.1f}" if abs(share) >= 0.001 else f"{100 * share + 0.0:+.1g}"


def _span(ends: list[float]) -> str:
    return " to ".join(map(_points, ends))


def _count(names: Sized) -> str:
    return "1 strategy" if len(names) == 1 else f"{len(names)} strategies"
