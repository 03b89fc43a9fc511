"""What a simulation found, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from ml_backend.core.formatting import chance, points, span, sureness
from ml_backend.simulation import teacher_arms
from ml_backend.simulation.sequential_testing import MOST, USEFUL, fewest
from ml_backend.simulation.summary import RANDOM

ENOUGH = f"{100 * USEFUL:g} point"
FEW_ROWS = 100  # with fewer test rows, how few they are is worth a word


def verdict(summary: dict[str, Any]) -> str:
    """What `summarise` found, a sentence or two a line; the first line is the answer.

    A strategy is recommended, or called worse, only if the interval of its gain excludes 0 and its p-value, corrected
    for the number of strategies, is low enough; both are at the level of so many repetitions. Random order is
    recommended only if the intervals exclude that any strategy gains as much as USEFUL. Too few seeds are those with
    which no p-value could be low enough.
    """
    protocol = summary["protocol"]
    against, seeds = protocol["against_random"], protocol["paired_seeds"]
    gains = {name: summary["strategies"][name]["vs_random"]["naulc_gain"] for name in against}
    names = sorted(gains, key=lambda name: -gains[name])
    sure = [name for name in names if against[name]["p_holm"] < protocol["level"]]
    better = [name for name in sure if against[name]["gain_interval"][0] > 0]
    worse = [name for name in sure if against[name]["gain_interval"][1] < 0]
    undecided = [name for name in names if against[name]["gain_interval"][1] >= USEFUL]
    needed = fewest(protocol["corrected_for"])
    if not names:
        lines = ["Only random order was measured: there is nothing to compare it with."]
    elif seeds < needed:
        return "\n".join([*_too_few(names[0], needed, summary), *_cautions(summary)])
    elif better:
        lines = _winner(better, summary)
    elif undecided:
        which = undecided[0] if len(names) == 1 else "any strategy"
        lines = [
            f"It cannot be told yet whether {which} beats random order on this data.",
            f"{_leader(undecided[0], summary)} {_gain(undecided[0], summary)}",
            _patience(undecided[0], summary),
        ]
    else:
        lines = [
            f"Stay with random order on this data: a gain of {ENOUGH} of macro-F1 or more is ruled out.",
            f"The best of the others is {names[0]}. {_gain(names[0], summary)}",
        ]
    if worse:
        lines.append(f"Do not use what is worse than random order, {_points_of(worse, summary)}.")
    return "\n".join([*lines, *_cautions(summary)])


def _too_few(best: str, needed: int, summary: dict[str, Any]) -> list[str]:
    """No interval and no p-value: of so few repetitions, they would only look like evidence."""
    protocol = summary["protocol"]
    return [
        "Too few repetitions (seeds) to say.",
        f"Comparing {_count(protocol['corrected_for'])} with random order takes at least {needed}, not "
        f"{protocol['paired_seeds']}: with fewer, even one that is ahead every time may only have been lucky.",
        f"{_leader(best, summary)} {_apart(best, summary)}.",
    ]


def _winner(better: Sequence[str], summary: dict[str, Any]) -> list[str]:
    best, *rest = better
    if summary["protocol"]["ends_alike"]:
        lines = [f"Use {best} on this data.", _gain(best, summary)]
    else:
        early = ", but only if you will stop early" if summary["strategies"][best]["labels_to_target"] is None else ""
        lines = [f"Use {best} on this data{early}."]
        lines += [_saving(best, summary), _gain(best, summary), _weakest(best, summary)]
    if rest:
        lines.append(
            f"Also better than random order, {_points_of(rest, summary)}. Not tested: whether {best} is better."
        )
    return lines


def _patience(name: str, summary: dict[str, Any]) -> str:
    """What would tell. Decided before, a number of repetitions is looked at once, which is the most powerful."""
    enough = summary["protocol"]["against_random"][name]["seeds_to_tell"]
    if enough is None:
        return (
            f"It varies so much that telling would take more than {MOST} repetitions: a larger test part or more "
            "labelled tasks would help more."
        )
    return (
        f"If it goes on like this, {enough} repetitions (--seeds {enough}, the finished ones are kept) would probably "
        f"tell that it gains something, or that it gains less than {ENOUGH}."
    )


def _cautions(summary: dict[str, Any]) -> list[str]:
    """What the teacher added, and what the numbers leave out."""
    protocol = summary["protocol"]
    lines = [*teacher_arms.lines(protocol["against_base"])]
    if protocol["ends_alike"]:
        lines.append(
            f"All {protocol['measured_at'][-1]} tasks to choose from were labelled in the end, where all strategies "
            "are alike: what they end with is not compared. A smaller --budget, in another folder, would compare it."
        )
    if (rows := protocol.get("test_rows", FEW_ROWS)) < FEW_ROWS:
        right = summary["strategies"][RANDOM]["final"]["accuracy"] * rows
        share = (right + 2) / (rows + 4)  # as Agresti and Coull: even if all are right, that is not for sure
        error = sqrt(share * (1 - share) / (rows + 4))
        same = ", the same in all repetitions, which no interval covers" if protocol["test_rows_stay"] else ""
        lines.append(
            f"Take it with caution: there are only {rows} test tasks{same}. An accuracy on so few is off by about "
            f"{points(error)[1:]} points by chance (standard error)."
        )
    if protocol["unpaired_seeds"]:
        lines.append(
            f"Not counted: {protocol['unpaired_seeds']} repetitions (seeds) that not every strategy has finished."
        )
    return lines


def _saving(name: str, summary: dict[str, Any]) -> str:
    protocol, strategies = summary["protocol"], summary["strategies"]
    target, last, found = protocol["target"], protocol["measured_at"][-1], protocol["against_random"][name]
    needs, randoms = (strategies[each]["labels_to_target"] for each in (name, RANDOM))
    if needs is None:
        return f"It learns faster at first, but with {last} labels it ends below the {target:.3f} of random order."
    saved, (low, high) = found["labels_saved"], found["labels_saved_ci95"]
    best = _fewer(saved if high is None else high)
    span = f"at best {best}, at worst it does not get there with {last}" if low is None else f"{_fewer(low)} to {best}"
    return (
        f"It needs about {needs:.0f} labels for a macro-F1 of {target:.3f}, random order {randoms:.0f}: "
        f"{_fewer(saved)} (95 % interval: {span})."
    )


def _fewer(saved: float) -> str:
    return f"{abs(saved):.0f} {'fewer' if saved >= 0 else 'more'}"


def _leader(name: str, summary: dict[str, Any]) -> str:
    gain = summary["strategies"][name]["vs_random"]["naulc_gain"]
    return f"So far {name} is ahead." if gain > 0 else f"So far nothing is ahead; {name} comes closest."


def _apart(name: str, summary: dict[str, Any]) -> str:
    protocol, gain = summary["protocol"], points(summary["strategies"][name]["vs_random"]["naulc_gain"])
    first, last = protocol["measured_at"][0], protocol["measured_at"][-1]
    side = "below" if gain.startswith("-") else "above"
    return (
        f"Averaged from {first} to {last} labels, its macro-F1 is {gain[1:]} points (hundredths) {side} that of random "
        "order"
    )


def _gain(name: str, summary: dict[str, Any]) -> str:
    protocol, found = summary["protocol"], summary["strategies"][name]["vs_random"]
    against, seeds = protocol["against_random"][name], protocol["paired_seeds"]
    equal = f", equal in {found['ties']}" if found["ties"] else ""
    return (
        f"{_apart(name, summary)} ({_sureness(summary)} interval: {span(against['gain_interval'])}). It was ahead in "
        f"{found['wins']} of {seeds} repetitions{equal} (p {chance(against['p_holm'])}, Wilcoxon signed-rank test, "
        f"corrected for {_count(protocol['corrected_for'])}; with {seeds} repetitions, it takes less than "
        f"{protocol['level']:.2g})."
    )


def _points_of(names: Sequence[str], summary: dict[str, Any]) -> str:
    gains = {name: summary["strategies"][name]["vs_random"]["naulc_gain"] for name in names}
    against = summary["protocol"]["against_random"]
    said = (f"{name} {points(gain)} ({span(against[name]['gain_interval'])})" for name, gain in gains.items())
    return f"in points of macro-F1 with {_sureness(summary)} intervals: {', '.join(said)}"


def _sureness(summary: dict[str, Any]) -> str:
    return sureness(summary["protocol"]["level"])


def _weakest(name: str, summary: dict[str, Any]) -> str:
    found = summary["protocol"]["against_random"][name]
    ours, randoms = (summary["strategies"][each]["final"]["worst_class_f1"] for each in (name, RANDOM))
    low, high = found["worst_class_ci95"]
    return (
        f"The weakest class ends with an F1 of {ours:.3f}, with random order {randoms:.3f}: "
        f"{points(found['worst_class_gain'])} points (95 % interval: {span([low, high])})"
        f"{', which can be chance' if low <= 0 <= high and low < high else ''}."
    )


def _count(strategies: int) -> str:
    return "1 strategy" if strategies == 1 else f"{strategies} strategies"
