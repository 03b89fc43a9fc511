"""Words the recommendation of a simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from ml_backend.kinds.base import ACCURACY
from ml_backend.rendering.effort_text import AXIS_UNITS, effort_saving, fewer
from ml_backend.rendering.formatting import format_confidence, format_interval, format_p_value, format_points
from ml_backend.simulation.sequential_testing import MAX_REPETITIONS, MIN_USEFUL_GAIN, min_repetitions
from ml_backend.simulation.summary import RANDOM

USEFUL_GAIN_TEXT = f"{100 * MIN_USEFUL_GAIN:g} point"
MIN_TEST_ROWS = 100  # with fewer test rows, the recommendation has a warning
METRIC_NAMES = {"macro_f1": "macro-F1"}  # of metrics that are not named as in the measurements


def recommend(summary: dict[str, Any]) -> str:
    """The recommendation from a summary of `summarise`, a sentence or two a line; the first line is the answer.

    A strategy is recommended, or called worse, only if the interval of its gain excludes 0 and its p-value, corrected
    for the number of strategies, is below the level; both are at the level for this number of repetitions. Random order
    is recommended only if the intervals exclude that any strategy gains as much as MIN_USEFUL_GAIN. There is no answer
    if the number of seeds is so small that no p-value could be below the level.
    """
    protocol = summary["protocol"]
    against, seeds = protocol["against_random"], protocol["paired_seeds"]
    gains = {name: summary["strategies"][name]["vs_random"]["naulc_gain"] for name in against}
    names = sorted(gains, key=lambda name: -gains[name])
    significant = [name for name in names if against[name]["p_holm"] < protocol["level"]]
    better = [name for name in significant if against[name]["gain_interval"][0] > 0]
    worse = [name for name in significant if against[name]["gain_interval"][1] < 0]
    undecided = [name for name in names if against[name]["gain_interval"][1] >= MIN_USEFUL_GAIN]
    min_seeds = min_repetitions(protocol["corrected_for"])
    if not names:
        lines = ["Only random order was measured: there is nothing to compare it with."]
    elif seeds < min_seeds:
        return "\n".join([*_too_few_seeds(names[0], min_seeds, summary), *_cautions(summary)])
    elif better:
        lines = _winner(better, summary)
    elif undecided:
        subject = undecided[0] if len(names) == 1 else "any strategy"
        lines = [
            f"It cannot be told yet whether {subject} beats random order on this data.",
            f"{_leader(undecided[0], summary)} {_gain(undecided[0], summary)}",
            _repetitions_advice(undecided[0], summary),
        ]
    else:
        lines = [
            f"Stay with random order on this data: a gain of {USEFUL_GAIN_TEXT} of {metric_name(summary)} or more "
            "is ruled out.",
            f"The best of the others is {names[0]}. {_gain(names[0], summary)}",
        ]
    if worse:
        lines.append(f"Do not use the strategies that are worse than random order, {_gain_list(worse, summary)}.")
    return "\n".join([*lines, *_cautions(summary)])


def control_sentences(summary: dict[str, Any], by_control: Mapping[str, dict[str, Any]]) -> list[str]:
    """The controls that the `summary` is over, and the answer for each control, from its summary; none for a simulation
    of one control."""
    if not by_control:
        return []
    names = ", ".join(summary["protocol"]["over_controls"])
    answers = (f"{control}: {recommend(of_control).splitlines()[0]}" for control, of_control in by_control.items())
    return [f"The numbers above are means over the controls {names}. For each control by itself:", *answers]


def _too_few_seeds(best: str, min_seeds: int, summary: dict[str, Any]) -> list[str]:
    """Without interval and p-value, which would look like evidence with so few repetitions."""
    protocol = summary["protocol"]
    return [
        "Too few repetitions (seeds) to say.",
        f"A comparison of {_count(protocol['corrected_for'])} with random order takes at least {min_seeds} "
        f"repetitions, not {protocol['paired_seeds']}: with fewer, even a strategy that is ahead every time may only "
        "have been lucky.",
        f"{_leader(best, summary)} {_mean_difference(best, summary)}.",
    ]


def _winner(better: Sequence[str], summary: dict[str, Any]) -> list[str]:
    best, *others = better
    if summary["protocol"]["ends_alike"]:
        lines = [f"Use {best} on this data.", _gain(best, summary)]
    else:
        early = ", but only if you will stop early" if summary["strategies"][best]["labels_to_target"] is None else ""
        lines = [f"Use {best} on this data{early}."]
        lines += [_saving(best, summary), _gain(best, summary)]
        if summary["protocol"]["against_random"][best]["worst_class_gain"] is not None:
            lines.append(_weakest_class(best, summary))
    if others:
        lines.append(
            f"Also better than random order, {_gain_list(others, summary)}. Not tested: whether {best} is better."
        )
    return lines


def _repetitions_advice(name: str, summary: dict[str, Any]) -> str:
    """How many repetitions would decide. The test has most power if their number is decided before the first look."""
    repetitions = summary["protocol"]["against_random"][name]["seeds_to_tell"]
    if repetitions is None:
        return (
            f"The gain varies so much that a decision would take more than {MAX_REPETITIONS} repetitions: a larger "
            "test part or more labelled tasks would help more."
        )
    return (
        f"If the gain stays like this, {repetitions} repetitions (--seeds {repetitions}, the finished ones are kept) "
        f"would probably show that {name} gains something, or that it gains less than {USEFUL_GAIN_TEXT}."
    )


def _cautions(summary: dict[str, Any]) -> list[str]:
    """The gains of the teacher arms, and the limits of the numbers."""
    protocol = summary["protocol"]
    lines = [*arm_sentences(protocol["against_base"], metric_name(summary))]
    if protocol["ends_alike"]:
        lines.append(
            f"All {protocol['measured_at'][-1]} tasks to choose from were labelled in the end, where all strategies "
            "are alike: their final scores are not compared. A smaller --budget, in another folder, would compare them."
        )
    if (rows := protocol.get("test_rows", MIN_TEST_ROWS)) < MIN_TEST_ROWS:
        same = ", the same in all repetitions, which no interval covers" if protocol["test_rows_stay"] else ""
        accuracy = summary["strategies"][RANDOM]["final"].get(ACCURACY)
        error = "" if accuracy is None else _error_of_accuracy(accuracy, rows)
        lines.append(f"Be cautious: there are only {rows} test tasks{same}.{error}")
    if protocol["unpaired_seeds"]:
        lines.append(
            f"Not counted: {protocol['unpaired_seeds']} repetitions (seeds) that not every strategy has finished."
        )
    return lines


def _error_of_accuracy(accuracy: float, rows: int) -> str:
    share = (accuracy * rows + 2) / (rows + 4)  # Agresti and Coull: the error is above 0 even if all rows are right
    error = sqrt(share * (1 - share) / (rows + 4))
    return f" An accuracy on so few is off by about {format_points(error)[1:]} points by chance (standard error)."


def arm_sentences(comparisons: Mapping[str, Any], metric: str) -> Iterator[str]:
    """A sentence for each arm of `compare_with_base`, the largest gain first. `metric`: the name of the metric"""
    for name, arm in sorted(comparisons.items(), key=lambda item: -item[1]["gain"]):
        evidence = f"ahead in {arm['wins']} of {arm['seeds']} repetitions"
        if arm["seeds"] < min_repetitions(arm["corrected_for"]):
            evidence += ", which are too few to say"
        else:
            evidence = (
                f"{format_confidence(arm['level'])} interval: {format_interval(arm['interval'])}; {evidence}, "
                f"p {format_p_value(arm['p_holm'])} "
                f"corrected for {arm['corrected_for']}, where p has to be less than {arm['level']:.2g}"
            )
        cost = f" at {arm['cost']:.3g}" if arm["cost"] else ""
        yield (
            f"{name}: {format_points(arm['gain'])} points of {metric} beside {arm['base']} alone ({evidence}), for "
            f"{arm['calls']:.0f} calls and {arm['tokens']:,.0f} tokens{cost} a repetition."
        )


def _saving(name: str, summary: dict[str, Any]) -> str:
    protocol, strategies = summary["protocol"], summary["strategies"]
    if "x" in protocol:
        return effort_saving(name, summary, metric_name(summary))
    target, last_budget, against = protocol["target"], protocol["measured_at"][-1], protocol["against_random"][name]
    needed, needed_by_random = (strategies[strategy]["labels_to_target"] for strategy in (name, RANDOM))
    if needed is None:
        return (
            f"It learns faster at first, but with {last_budget} labels it ends below the {target:.3f} of random order."
        )
    saved, (low, high) = against["labels_saved"], against["labels_saved_ci95"]
    best = fewer(saved if high is None else high)
    if low is None:
        interval = f"at best {best}, at worst it does not get there with {last_budget}"
    else:
        interval = f"{fewer(low)} to {best}"
    return (
        f"It needs about {needed:,.0f} labels for a {metric_name(summary)} of {target:.3f}, random order "
        f"{needed_by_random:,.0f}: "
        f"{fewer(saved)} (95 % interval: {interval})."
    )


def _leader(name: str, summary: dict[str, Any]) -> str:
    gain = summary["strategies"][name]["vs_random"]["naulc_gain"]
    return f"So far {name} is ahead." if gain > 0 else f"So far no strategy is ahead; {name} comes closest."


def _mean_difference(name: str, summary: dict[str, Any]) -> str:
    protocol, gain = summary["protocol"], format_points(summary["strategies"][name]["vs_random"]["naulc_gain"])
    first, last = protocol.get("compared_range", (protocol["measured_at"][0], protocol["measured_at"][-1]))
    unit = AXIS_UNITS[protocol.get("x", "")]
    side = "below" if gain.startswith("-") else "above"
    return (
        f"Averaged from {first:,.0f} to {last:,.0f} {unit}, its {metric_name(summary)} is {gain[1:]} points "
        f"(hundredths) {side} that of random order"
    )


def _gain(name: str, summary: dict[str, Any]) -> str:
    protocol, versus_random = summary["protocol"], summary["strategies"][name]["vs_random"]
    against, seeds = protocol["against_random"][name], protocol["paired_seeds"]
    equal = f", equal in {versus_random['ties']}" if versus_random["ties"] else ""
    interval, p_value = format_interval(against["gain_interval"]), format_p_value(against["p_holm"])
    return (
        f"{_mean_difference(name, summary)} ({_confidence(summary)} interval: {interval}). It was ahead in "
        f"{versus_random['wins']} of {seeds} repetitions{equal} (p {p_value}, Wilcoxon signed-rank test, "
        f"corrected for {_count(protocol['corrected_for'])}; with {seeds} repetitions, p has to be "
        f"less than {protocol['level']:.2g})."
    )


def _gain_list(names: Sequence[str], summary: dict[str, Any]) -> str:
    gains = {name: summary["strategies"][name]["vs_random"]["naulc_gain"] for name in names}
    against = summary["protocol"]["against_random"]
    texts = (
        f"{name} {format_points(gain)} ({format_interval(against[name]['gain_interval'])})"
        for name, gain in gains.items()
    )
    return f"in points of {metric_name(summary)} with {_confidence(summary)} intervals: {', '.join(texts)}"


def metric_name(summary: dict[str, Any]) -> str:
    """The name of the metric by which the strategies are compared."""
    metric: str = summary["protocol"]["metric"]
    return METRIC_NAMES.get(metric, metric)


def _confidence(summary: dict[str, Any]) -> str:
    return format_confidence(summary["protocol"]["level"])


def _weakest_class(name: str, summary: dict[str, Any]) -> str:
    against = summary["protocol"]["against_random"][name]
    f1, f1_of_random = (summary["strategies"][strategy]["final"]["worst_class_f1"] for strategy in (name, RANDOM))
    low, high = against["worst_class_ci95"]
    return (
        f"The weakest class ends with an F1 of {f1:.3f}, with random order {f1_of_random:.3f}: "
        f"{format_points(against['worst_class_gain'])} points (95 % interval: {format_interval([low, high])})"
        f"{', which can be chance' if low <= 0 <= high and low < high else ''}."
    )


def _count(strategies: int) -> str:
    return "1 strategy" if strategies == 1 else f"{strategies} strategies"
