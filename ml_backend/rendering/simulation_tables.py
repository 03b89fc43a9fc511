"""The tables of the report, in HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from ml_backend.rendering.recommendation_text import metric_name
from ml_backend.rendering.simulation_text import protocol_rows
from ml_backend.simulation.summary import RANDOM

FINAL_HEADS = {
    "closeness": "final closeness",
    "accuracy": "final accuracy",
    "macro_f1": "final macro-F1",
    "worst_class_f1": "weakest class",
}
"""The heads of the columns with the metrics at the last budget, by metric. Other metrics have their own names."""
Colours = dict[str, str]
"""The colour of each strategy, in the order of legends and tables."""


def summary_table(summary: dict[str, Any], colours: Colours) -> str:
    """A row for each strategy. The numbers of labels that are needed and saved are left out if all tasks were labelled,
    because all strategies end alike then, and if `effort_table` has them."""
    has_effort = "x" in summary["protocol"]
    metrics = [*next(iter(summary["strategies"].values()))["final"]]
    heads = ["strategy", f"{metric_name(summary)}, averaged", "points above random", "p, corrected"]
    heads += ["ahead, equal, behind", *([] if has_effort else ["labels needed", "labels saved"])]
    heads += [*(FINAL_HEADS.get(metric, f"final {metric}") for metric in metrics), "seconds a round"]
    rows = [f"<th>{'</th><th>'.join(heads)}</th>"]
    for name, colour in colours.items():
        result, against = summary["strategies"][name], summary["protocol"]["against_random"].get(name)
        area, difference, labels_needed = result["naulc"], result["vs_random"], result["labels_to_target"]
        is_compared = not summary["protocol"]["ends_alike"]
        mean = f"{area['mean']:.3f}{_interval('.3f', area['ci95'])}"
        row = [f'<i style="background:{colour}"></i>{escape(name)}', mean]
        row += ["", "", "", "never" if labels_needed is None else f"{labels_needed:.0f}", ""]
        if not is_compared:
            row[5] = ""
        if against:
            points = _interval("+.1f", [100 * end for end in difference["ci95"]])
            row[2:4] = [f"{100 * difference['naulc_gain']:+.1f}{points}", f"{against['p_holm']:.2g}"]
            row[4] = f"{difference['wins']}, {difference['ties']}, {difference['losses']}"
        if against and is_compared and labels_needed is not None:
            row[6] = f"{against['labels_saved']:.0f}{_interval('.0f', against['labels_saved_ci95'])}"
        if has_effort:
            del row[5:7]
        row += [*(f"{result['final'][metric]:.3f}" for metric in metrics), f"{result['seconds_per_round']:.2g}"]
        rows.append(f"<td>{'</td><td>'.join(row)}</td>")
    return "".join(f"<tr>{row}</tr>" for row in rows)


def effort_table(summary: dict[str, Any], colours: Colours) -> str:
    """A row for each strategy: what it needs for the final score of random order, what that saves, and what it needs in
    all, on each axis of effort; "" without such axes. Needs and savings are left out if all tasks were labelled."""
    if "x" not in summary["protocol"]:
        return ""
    axes = [*summary["strategies"][RANDOM]["effort"]]
    is_compared = not summary["protocol"]["ends_alike"]
    parts = ("needed", "saved", "in all") if is_compared else ("in all",)
    heads = ["strategy", *(f"{axis} {part}" for axis in axes for part in parts)]
    rows = [f"<th>{'</th><th>'.join(heads)}</th>"]
    for name, colour in colours.items():
        saved = summary["protocol"]["against_random"].get(name, {}).get("effort_saved", {})
        row = [f'<i style="background:{colour}"></i>{escape(name)}']
        for axis, effort in summary["strategies"][name]["effort"].items():
            needed = effort["to_target"]
            if is_compared:
                row.append("never" if needed is None else f"{needed:,.0f}")
                of_axis = saved.get(axis)
                has_saving = of_axis is not None and needed is not None
                row.append(f"{of_axis['mean']:,.0f}{_interval(',.0f', of_axis['ci95'])}" if has_saving else "")
            row.append(f"{effort['end']:,.0f}")
        rows.append(f"<td>{'</td><td>'.join(row)}</td>")
    return "".join(f"<tr>{row}</tr>" for row in rows)


def arms_table(against_base: dict[str, Any]) -> str:
    """A row for each teacher arm, compared with its strategy alone; "" if there is none."""
    if not against_base:
        return ""
    heads = ["strategy and teacher", "beside", "points above it", "p, corrected", "ahead"]
    heads += ["calls a repetition", "tokens", "cost"]
    rows = [f"<th>{'</th><th>'.join(heads)}</th>"]
    for name, arm in against_base.items():
        points = _interval("+.1f", [100 * end for end in arm["interval"]])
        row = [escape(name), escape(arm["base"]), f"{100 * arm['gain']:+.1f}{points}", f"{arm['p_holm']:.2g}"]
        row += [f"{arm['wins']} of {arm['seeds']}", f"{arm['calls']:.0f}", f"{arm['tokens']:,.0f}"]
        rows.append(f"<td>{'</td><td>'.join([*row, format(arm['cost'], '.3g')])}</td>")
    return "".join(f"<tr>{row}</tr>" for row in rows)


def _interval(format_spec: str, ends: list[float | None]) -> str:
    low, high = ("never" if end is None else f"{end:{format_spec}}" for end in ends)
    return f"<small>{low} to {high}</small>"


def protocol_table(protocol: dict[str, Any]) -> str:
    """A row for each entry of the protocol, without the comparisons, which are in the other tables."""
    rows = (f"<td>{escape(name)}</td><td>{escape(text)}</td>" for name, text in protocol_rows(protocol))
    return "".join(f"<tr>{row}</tr>" for row in rows)
