"""The report of a simulation: one HTML page, which needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.rendering.recommendation_text import control_sentences, metric_name, recommend
from ml_backend.rendering.simulation_tables import Colours, arms_table, protocol_table, summary_table
from ml_backend.rendering.simulation_text import intervals_cover_text
from ml_backend.simulation.learning_curves import Measurement, paired_curves
from ml_backend.simulation.run import SimulationResult
from ml_backend.simulation.run_directory import readable_errors, write_text
from ml_backend.simulation.statistics import interval
from ml_backend.simulation.summary import RANDOM

Figure = dict[str, Any]

REPORT = "report.html"
GREY = "#7d8590"
PALETTE = ("#0969da", "#d1570a", "#1a7f4b", "#8250df", "#c2255c", "#0b8a99", "#9a6700", "#4453c4", "#6f8f00", "#e0529c")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
OVER_CONTROLS_NOTE = (
    "The means of the metrics over the controls {names}. The weakest class is the weakest one of any of these controls."
)
INTERVALS_NOTE = "Means over the repetitions, with 95 % intervals."
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<title>Which labels teach most?</title>
<style>
body {{ margin: 0 auto; max-width: 1000px; padding: 32px 24px 64px; color: #1f2328; font: 16px/1.55 {font}; }}
h1 {{ font-size: 28px; line-height: 1.25; margin: 0 0 20px; }}
h2 {{ font-size: 20px; margin: 44px 0 2px; }}
h3 {{ font-size: 17px; margin: 32px 0 2px; }}
p {{ margin: 6px 0; }}
.note, th, small {{ color: #59636e; }}
.recommendation {{ background: #f3f6fa; border-left: 4px solid #0969da; border-radius: 4px; padding: 16px 22px; }}
.recommendation p:first-child {{ font-size: 20px; font-weight: 600; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 7px 6px; border-bottom: 1px solid #d8dee4; text-align: right; vertical-align: top; }}
th {{ font-weight: 600; line-height: 1.3; vertical-align: bottom; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; min-width: 120px; }}
.protocol td {{ text-align: left; overflow-wrap: anywhere; }}
small {{ display: block; white-space: nowrap; font-size: 12px; }}
i {{ display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 7px; }}
</style>
</head>
<body>
<h1>Which labels teach most? A simulation on your data</h1>
{recommendation}
{coverage}{sections}
{arms}<h2>Protocol</h2>
<table class="protocol">{protocol}</table>
</body>
</html>
"""


ARMS_SECTION = """<h2>With a teacher</h2>
<p class="note">In brackets: how often the teacher was asked, and about how many hard texts or tasks each time, with \
as many easy ones. Points of {metric}, averaged over the numbers of labels.</p>
<div class="wide"><table>{rows}</table></div>
"""


def write_report(result: SimulationResult, folder: Path) -> str:
    """Writes the page of a simulation, with the recommendation on top, as report.html, and returns the recommendation.
    For several controls, the page has a section over all of them, and one for each.

    Raises ApprenticeError if it cannot be written, and leaves an earlier page as it was.
    """
    summaries = {control: of_control.summary for control, of_control in result.by_control.items()}
    recommendation = "\n".join([recommend(result.summary), *control_sentences(result.summary, summaries)])
    with readable_errors(folder):
        write_text(folder / REPORT, _page(result, recommendation))
    return recommendation


def _page(result: SimulationResult, recommendation: str) -> str:
    protocol = result.summary["protocol"]
    if result.by_control:
        names = ", ".join(protocol["over_controls"])
        title = f'<h2>All controls</h2><p class="note">{escape(OVER_CONTROLS_NOTE.format(names=names))}</p>'
        sections = title + _section(result, "h3")
        for control, of_control in result.by_control.items():
            advice = _recommendation(recommend(of_control.summary))
            sections += f"<h2>Control {escape(control)}</h2>{advice}{_section(of_control, 'h3', with_script=False)}"
    else:
        sections = _section(result, "h2")
    coverage = ""
    if "test_rows_stay" in protocol:
        text = intervals_cover_text(protocol["test_rows_stay"])
        coverage = f'<p class="note">The intervals cover {escape(text)}.</p>'
    arm_rows = arms_table(protocol["against_base"])
    return PAGE.format(
        font=FONT,
        recommendation=_recommendation(recommendation),
        coverage=coverage,
        sections=sections,
        arms=ARMS_SECTION.format(rows=arm_rows, metric=metric_name(result.summary)) if arm_rows else "",
        protocol=protocol_table(protocol),
    )


def _recommendation(text: str) -> str:
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in text.splitlines())
    return f'<div class="recommendation">{paragraphs}</div>'


def _section(result: SimulationResult, heading: str, *, with_script: bool = True) -> str:
    """The charts and the summary of one control, or over all of them.

    heading      the tag of the headings
    with_script  whether the first chart brings plotly's own script, which the page needs once
    """
    from plotly.io import to_html

    measurements, summary = result.measurements, result.summary
    colours, protocol = _colours(summary), summary["protocol"]
    labels_needed = {} if protocol["ends_alike"] else _labels_needed(summary, colours)
    sizes = {name: counts["test_rows"] for name, counts in protocol.get("groups", {}).items()}
    curves = partial(_curves, measurements, colours)
    charts = ""
    for title, note, figure in (
        (
            "Closeness",
            f"1 minus the distance from the annotators' label, as a share of the scale. {INTERVALS_NOTE}",
            curves("closeness"),
        ),
        ("Macro-F1", f"F1 averaged over the classes, rare ones too. {INTERVALS_NOTE}", curves("macro_f1")),
        ("Accuracy", f"Share of held-out tasks that the learner gets right. {INTERVALS_NOTE}", curves("accuracy")),
        (
            "Labels needed",
            f"For the final {metric_name(summary)} of random order, {protocol['target']:.3f}.",
            labels_needed,
        ),
        ("The weakest class", f"The lowest F1 of any class. {INTERVALS_NOTE}", curves("worst_class_f1")),
        (
            "Groups",
            f"Accuracy with {protocol['measured_at'][-1]} labels, with the number of test rows. {INTERVALS_NOTE} The "
            "intervals do not cover the error from the small number of test rows of a group.",
            _groups(measurements, colours, sizes),
        ),
        (
            "Calibration error",
            f"Confidence against accuracy; lower is better. {INTERVALS_NOTE}",
            curves("calibration_error"),
        ),
        ("Seconds a round", f"Processor time of a round. {INTERVALS_NOTE}", curves("seconds")),
    ):
        if figure.get("data"):
            script = with_script and not charts
            chart = to_html(figure, {"displayModeBar": False}, include_plotlyjs=script, full_html=False)
            charts += f'<{heading}>{title}</{heading}><p class="note">{note}</p>{chart}'
    table = summary_table(summary, colours)
    return f'{charts}\n<{heading}>Summary</{heading}>\n<div class="wide"><table>{table}</table></div>'


def _colours(summary: dict[str, Any]) -> Colours:
    """Random order first, in grey, then the other strategies, the largest gain first."""
    others = [name for name in summary["strategies"] if name != RANDOM]
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(others)}
    others.sort(key=lambda name: -summary["strategies"][name]["vs_random"]["naulc_gain"])
    return {RANDOM: GREY, **{name: colours[name] for name in others}}


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


def _curves(measurements: Sequence[Measurement], colours: Colours, metric: str) -> Figure:
    budgets, values = paired_curves(measurements, metric)
    bands: list[Figure] = []
    lines: list[Figure] = []
    for name, colour in colours.items() if len(values[RANDOM]) else ():
        low, high = interval(values[name])
        common = {"name": _plotly_text(name), "legendgroup": _plotly_text(name)}
        band = {"x": [*budgets, *budgets[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "mode": "none"}
        style = {"fillcolor": f"rgba{(*bytes.fromhex(colour[1:]), 0.13)}", "hoverinfo": "skip", "showlegend": False}
        bands.append(common | band | style)
        line = {"x": budgets, "y": values[name].mean(axis=0), "mode": "lines+markers", "marker": {"size": 5}}
        lines.append(common | line | {"line": {"color": colour, "width": 2.5}, "hovertemplate": "%{y:.3f}"})
    return _figure(bands + lines, 390 + 10 * len(colours), {"title": {"text": "labels"}}, {}, hovermode="x unified")


def _labels_needed(summary: dict[str, Any], colours: Colours) -> Figure:
    needs = {_plotly_text(name): summary["strategies"][name]["labels_to_target"] for name in colours}
    last = summary["protocol"]["measured_at"][-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [last if need is None else need for need in needs.values()],
        "y": list(needs),
        "marker": {"color": [*colours.values()], "opacity": [0.25 if need is None else 1 for need in needs.values()]},
        "text": [f"not within {last}" if need is None else f"{need:.0f}" for need in needs.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    x = {"title": {"text": "labels"}, "range": [0, 1.25 * last]}  # room for the text beside the bars
    return _figure([bars], 110 + 40 * len(needs), x, {"type": "category", "autorange": "reversed"})


def _groups(measurements: Sequence[Measurement], colours: Colours, sizes: dict[str, float]) -> Figure:
    names = sorted({measurement.group for measurement in measurements} - {""})
    tables = {
        group: values for group in names if len((values := paired_curves(measurements, "accuracy", group)[1])[RANDOM])
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
