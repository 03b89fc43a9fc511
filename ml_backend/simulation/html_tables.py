"""The tables of the report, in HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from ml_backend.simulation.summary import FINAL

Colours = dict[str, str]
"""Of each strategy, in the order of legends and tables."""


def summary_table(summary: dict[str, Any], colours: Colours) -> str:
    """A row for each strategy. Where all end alike, how many labels take them to that end is left out."""
    heads = ["strategy", "macro-F1, averaged", "points above random", "p, corrected", "ahead, equal, behind"]
    heads += ["labels needed", "labels saved", "final accuracy", "final macro-F1", "weakest class", "seconds a round"]
    rows = [f"<th>{'</th><th>'.join(heads)}</th>"]
    for name, colour in colours.items():
        found, against = summary["strategies"][name], summary["protocol"]["against_random"].get(name)
        area, versus, needs = found["naulc"], found["vs_random"], found["labels_to_target"]
        compared = not summary["protocol"]["ends_alike"]
        row = [f'<i style="background:{colour}"></i>{escape(name)}', f"{area['mean']:.3f}{_ends('.3f', area['ci95'])}"]
        row += ["", "", "", "never" if needs is None else f"{needs:.0f}", ""] if compared else [""] * 5
        if against:
            points = _ends("+.1f", [100 * end for end in versus["ci95"]])
            row[2:4] = [f"{100 * versus['naulc_gain']:+.1f}{points}", f"{against['p_holm']:.2g}"]
            row[4] = f"{versus['wins']}, {versus['ties']}, {versus['losses']}"
        if against and compared and needs is not None:
            row[6] = f"{against['labels_saved']:.0f}{_ends('.0f', against['labels_saved_ci95'])}"
        row += [*(f"{found['final'][metric]:.3f}" for metric in FINAL), f"{found['seconds_per_round']:.2g}"]
        rows.append(f"<td>{'</td><td>'.join(row)}</td>")
    return "".join(f"<tr>{row}</tr>" for row in rows)


def arms_table(against: dict[str, Any]) -> str:
    """A row for each way in which a teacher was asked beside a strategy; "" if none was."""
    if not against:
        return ""
    heads = ["strategy and teacher", "beside", "points above it", "p, corrected", "ahead"]
    heads += ["calls a repetition", "tokens", "cost"]
    rows = [f"<th>{'</th><th>'.join(heads)}</th>"]
    for name, each in against.items():
        points = _ends("+.1f", [100 * end for end in each["interval"]])
        row = [escape(name), escape(each["base"]), f"{100 * each['gain']:+.1f}{points}", f"{each['p_holm']:.2g}"]
        row += [f"{each['wins']} of {each['seeds']}", f"{each['calls']:.0f}", f"{each['tokens']:,.0f}"]
        rows.append(f"<td>{'</td><td>'.join([*row, format(each['cost'], '.3g')])}</td>")
    return "".join(f"<tr>{row}</tr>" for row in rows)


def _ends(form: str, ends: list[float | None]) -> str:
    low, high = ("never" if end is None else f"{end:{form}}" for end in ends)
    return f"<small>{low} to {high}</small>"


def protocol_table(protocol: dict[str, Any]) -> str:
    """How it was measured, but for what is in the table of the strategies."""
    rows = ""
    for name, value in protocol.items():
        said = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        said = f"{value:.4g}" if isinstance(value, float) else said
        if name == "groups":
            said = "; ".join(
                f"{each}: {of['tasks']} tasks, {of['test_rows']:g} test rows" for each, of in value.items()
            )
        if name not in ("against_random", "against_base"):
            rows += f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(said)}</td></tr>"
    return rows
