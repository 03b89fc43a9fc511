"""Words the effort that a query strategy needs, in tasks, words and spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_backend.simulation.summary import RANDOM

AXIS_UNITS = {"": "labels", "tasks": "tasks", "words": "words read", "spans": "spans marked"}
"""The unit of the axis on which strategies are compared; "" stands for the number of labels."""


def effort_saving(name: str, summary: dict[str, Any], metric: str) -> str:
    """What a strategy needs for the final score of random order: on the axis of comparison with its interval, then on
    the other axes. `metric`: the name of the compared metric"""
    protocol, effort = summary["protocol"], summary["strategies"][name]["effort"]
    axis, target = protocol["x"], f"{metric} of {protocol['target']:.3f}"
    by_random, saved = summary["strategies"][RANDOM]["effort"], protocol["against_random"][name]["effort_saved"]
    if effort[axis]["to_target"] is None:
        in_all = f"{effort[axis]['end']:,.0f} {AXIS_UNITS[axis]}"
        return f"It learns faster at first, but after {in_all} it ends below the {target} of random order."
    needs = [
        f"{effort[other]['to_target']:,.0f} {AXIS_UNITS[other]} (random order {by_random[other]['to_target']:,.0f})"
        for other in sorted(effort, key=lambda other: other != axis)
    ]
    return (
        f"For the {target} with which random order ends, it needs about {needs[0]}: "
        f"{fewer(saved[axis]['mean'])} (95 % interval: {_saved_interval(saved[axis])}). "
        f"It needs {' and '.join(needs[1:])}."
    )


def _saved_interval(saved: Mapping[str, Any]) -> str:
    low, high = saved["ci95"]
    best = fewer(saved["mean"] if high is None else high)
    return f"at best {best}, at worst it does not get there" if low is None else f"{fewer(low)} to {best}"


def fewer(saved: float) -> str:
    return f"{abs(saved):,.0f} {'fewer' if saved >= 0 else 'more'}"
