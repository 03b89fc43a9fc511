"""The report of a simulation: one HTML page, which needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from ml_backend.rendering.effort_text import AXIS_UNITS
from ml_backend.rendering.recommendation_text import (
    METRIC_NAMES,
    control_sentences,
    metric_name,
    recommend,
)
from ml_backend.rendering.simulation_charts import FONT, Figure, effort_needed, final_of_groups, learning_curves
from ml_backend.rendering.simulation_tables import Colours, arms_table, effort_table, protocol_table, summary_table
from ml_backend.rendering.simulation_text import intervals_cover_text
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.run import SimulationResult
from ml_backend.simulation.run_directory import readable_errors, write_text
from ml_backend.simulation.summary import RANDOM

REPORT = "report.html"
GREY = "#7d8590"
PALETTE = ("#0969da", "#d1570a", "#1a7f4b", "#8250df", "#c2255c", "#0b8a99", "#9a6700", "#4453c4", "#6f8f00", "#e0529c")
OVER_CONTROLS_NOTE = (
    "The means of the metrics over the controls {names}. The weakest class is the weakest one of any of these controls."
)
JOINT_METRIC_NOTE = " The main metric is the mean of {metrics}."
METRIC_NOTES = {
    "closeness": "1 minus the distance from the annotators' label, as a share of the scale.",
    "macro_f1": "F1 averaged over the classes, rare ones too.",
    "accuracy": "Share of held-out tasks that the learner gets right.",
    "strict F1": "A span is right if its characters and its label are.",
    "precision": "Right spans, as a share of those that the learner drafts.",
    "recall": "Right spans, as a share of those that the annotators mark.",
    "wrong label": "Drafted spans with the right characters and a wrong label, for each span that the annotators mark.",
    "wrong boundary": "Drafted spans with the right label that overlap the right characters, for each span that the "
    "annotators mark.",
}
"""What a metric says, in the order of the charts."""
GROUPS_NOTE = "The intervals do not cover the error from the small number of test rows of a group."
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
        note = OVER_CONTROLS_NOTE.format(names=names)
        if metrics := protocol.get("over_metrics"):
            named = (f"{METRIC_NAMES.get(metric, metric)} of {control}" for control, metric in metrics.items())
            note += JOINT_METRIC_NOTE.format(metrics=" and ".join(named))
        title = f'<h2>All controls</h2><p class="note">{escape(note)}</p>'
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
    axis = protocol.get("x", "")
    labels_needed = {} if protocol["ends_alike"] else effort_needed(summary, colours)
    sizes = {name: counts["test_rows"] for name, counts in protocol.get("groups", {}).items()}
    curves = partial(learning_curves, measurements, colours, axis=axis)
    metric, group_metric = metric_name(summary), "accuracy" if "accuracy" in _final_metrics(summary) else ""
    charts = ""
    for title, note, figure in (
        *_metric_charts(measurements, colours, summary),
        (
            f"{_title(axis or 'labels')} needed",
            f"For the final {metric} of random order, {protocol['target']:.3f}.",
            labels_needed,
        ),
        ("The weakest class", f"The lowest F1 of any class. {INTERVALS_NOTE}", curves("worst_class_f1")),
        (
            "Groups",
            f"{_title(group_metric or metric)} with {protocol['measured_at'][-1]} {'tasks' if axis else 'labels'}, "
            f"with the number of test rows. {INTERVALS_NOTE} {GROUPS_NOTE}",
            final_of_groups(measurements, colours, sizes, group_metric or protocol["metric"]),
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
    tables = {"Summary": summary_table(summary, colours), "Effort": effort_table(summary, colours)}
    return charts + "".join(
        f'\n<{heading}>{title}</{heading}>\n<div class="wide"><table>{table}</table></div>'
        for title, table in tables.items()
        if table
    )


def _final_metrics(summary: dict[str, Any]) -> Mapping[str, float]:
    final: Mapping[str, float] = summary["strategies"][RANDOM]["final"]
    return final


def _metric_charts(
    measurements: Sequence[Measurement], colours: Colours, summary: dict[str, Any]
) -> Iterator[tuple[str, str, Figure]]:
    """Yields a chart of each metric, with its title and a note. With an axis of effort, the compared metric comes
    first, on each axis, that of the comparison before the others."""
    protocol = summary["protocol"]
    compared, x = protocol["metric"], protocol.get("x", "")
    metrics = [*dict.fromkeys([*METRIC_NOTES, compared])]
    for metric in sorted(metrics, key=lambda metric: metric != compared) if x else metrics:
        note = f"{METRIC_NOTES.get(metric, '')} {INTERVALS_NOTE}".lstrip()
        title = _title(METRIC_NAMES.get(metric, metric))
        if not x or metric != compared:
            yield title, note, learning_curves(measurements, colours, metric, axis=x)
            continue
        for axis in sorted(summary["strategies"][RANDOM]["effort"], key=lambda axis: axis != x):
            figure = learning_curves(measurements, colours, metric, axis=axis)
            yield f"{title} by {AXIS_UNITS[axis]}", note, figure


def _colours(summary: dict[str, Any]) -> Colours:
    """Random order first, in grey, then the other strategies, the largest gain first."""
    others = [name for name in summary["strategies"] if name != RANDOM]
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(others)}
    others.sort(key=lambda name: -summary["strategies"][name]["vs_random"]["naulc_gain"])
    return {RANDOM: GREY, **{name: colours[name] for name in others}}


def _title(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]
