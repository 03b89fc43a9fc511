"""The charts of the report of a simulation, as figures of Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from ml_backend.rendering.effort_text import AXIS_UNITS
from ml_backend.rendering.simulation_tables import Colours
from ml_backend.simulation.effort import TASKS, positions
from ml_backend.simulation.learning_curves import Measurement, paired_curves
from ml_backend.simulation.statistics import interval
from ml_backend.simulation.summary import RANDOM

Figure = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"


def _plotly_text(name: str) -> str:
    """The name in lines of 40 characters, escaped because Plotly interprets tags in every text, links too. Quotes are
    not escaped, because Plotly does not decode their entities."""
    return "<br>".join(escape(name[start : start + 40], quote=False) for start in range(0, len(name), 40))


def _figure(traces: list[Figure], height: int, x: Figure, y: Figure, **more: Any) -> Figure:
    layout = {
        "template": "plotly_white",
        "height": height,
        "margin": {"l": 10, "r": 10, "t": 50 if len(traces) > 1 else 10, "b": 10},
        "font": {"family": FONT, "size": 14, "color": "#1f2328"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"automargin": True, "zeroline": False, **x},
        "yaxis": {"automargin": True, "zeroline": False, "ticklabelstandoff": 8, **y},
    }
    return {"data": traces, "layout": layout | more}


def learning_curves(measurements: Sequence[Measurement], colours: Colours, metric: str, *, axis: str) -> Figure:
    """The curves of a metric on an axis of effort, "" for the number of labels."""
    _, values = paired_curves(measurements, metric)
    efforts = positions(measurements, metric, axis or TASKS)
    bands: list[Figure] = []
    lines: list[Figure] = []
    for name, colour in colours.items() if len(values[RANDOM]) else ():
        (low, high), x = interval(values[name]), efforts[name].mean(axis=0)
        common = {"name": _plotly_text(name), "legendgroup": _plotly_text(name)}
        band = {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "mode": "none"}
        style = {"fillcolor": f"rgba{(*bytes.fromhex(colour[1:]), 0.13)}", "hoverinfo": "skip", "showlegend": False}
        bands.append(common | band | style)
        line = {"x": x, "y": values[name].mean(axis=0), "mode": "lines+markers", "marker": {"size": 5}}
        lines.append(common | line | {"line": {"color": colour, "width": 2.5}, "hovertemplate": "%{y:.3f}"})
    title = {"title": {"text": AXIS_UNITS[axis]}}
    return _figure(bands + lines, 390 + 10 * len(colours), title, {}, hovermode="x unified")


def effort_needed(summary: dict[str, Any], colours: Colours) -> Figure:
    """What each strategy needs for the final score of random order, on the axis of comparison."""
    axis, strategies = summary["protocol"].get("x", ""), summary["strategies"]
    if axis:
        needs = {_plotly_text(name): strategies[name]["effort"][axis]["to_target"] for name in colours}
        last = max(strategies[name]["effort"][axis]["end"] for name in colours)
    else:
        needs = {_plotly_text(name): strategies[name]["labels_to_target"] for name in colours}
        last = summary["protocol"]["measured_at"][-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [last if need is None else need for need in needs.values()],
        "y": list(needs),
        "marker": {"color": [*colours.values()], "opacity": [0.25 if need is None else 1 for need in needs.values()]},
        "text": [f"not within {last:,.0f}" if need is None else f"{need:,.0f}" for need in needs.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    x = {"title": {"text": AXIS_UNITS[axis]}, "range": [0, 1.25 * last]}  # room for the text beside the bars
    return _figure([bars], 110 + 40 * len(needs), x, {"type": "category", "autorange": "reversed"})


def final_of_groups(
    measurements: Sequence[Measurement], colours: Colours, sizes: dict[str, float], metric: str
) -> Figure:
    """The values of a metric at the end for each group. `sizes`: the numbers of test rows"""
    names = sorted({measurement.group for measurement in measurements} - {""})
    tables = {
        group: values for group in names if len((values := paired_curves(measurements, metric, group)[1])[RANDOM])
    }
    group_texts = [_plotly_text(f"{group} ({sizes[group]:g})" if group in sizes else group) for group in tables]
    dots: list[Figure] = []
    interval_ends: list[float] = []
    for name, colour in colours.items() if tables else ():
        final = [values[name][:, -1] for values in tables.values()]
        means = [float(accuracies.mean()) for accuracies in final]
        low, high = zip(*map(interval, final), strict=True)
        error = {"array": np.subtract(high, means), "arrayminus": np.subtract(means, low), "thickness": 1.5}
        position = {"x": means, "y": group_texts, "error_x": error, "orientation": "h"}
        dots.append({"name": _plotly_text(name), "mode": "markers", "marker": {"color": colour, "size": 9}, **position})
        interval_ends += [*low, *high]
    x = {"range": [min(interval_ends) - 0.02, max(interval_ends) + 0.02] if interval_ends else None}  # not from 0
    y = {"type": "category", "autorange": "reversed"}
    return _figure(dots, 90 + 10 * len(colours) + len(tables) * (20 + 16 * len(colours)), x, y, scattermode="group")
