"""Formats numbers and lists for sentences."""

from __future__ import annotations

import shlex
from collections.abc import Sequence, Sized

MAX_LISTED_ITEMS = 10  # classes or tasks in one sentence


def and_more(items: Sized, limit: int = MAX_LISTED_ITEMS) -> str:
    """The end of a sentence that lists `limit` of the items: ` and 3 more`, or "" if it lists all of them."""
    return f" and {len(items) - limit} more" if len(items) > limit else ""


def control_option(control: str, controls: Sized) -> str:
    """The option, after a blank, with which a command is about one of the project's `controls`; "" if there is one."""
    return named_control_option(control) if len(controls) > 1 else ""


def named_control_option(control: str) -> str:
    """The option, after a blank, with which a command is about a control; "" for "", which stands for all controls."""
    return f" --control {shlex.quote(control)}" if control else ""


def format_points(share: float) -> str:
    """A share in percentage points with its sign: one decimal, or, below 0.1 points, one significant digit."""
    return f"{100 * share:+.1f}" if abs(share) >= 0.001 else f"{100 * share + 0.0:+.1g}"


def format_interval(interval: Sequence[float]) -> str:
    """The bounds of an interval, in percentage points."""
    return " to ".join(map(format_points, interval))


def format_p_value(p_value: float) -> str:
    """A p-value with its sign of comparison: `= 0.02` or `< 0.001`."""
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def format_confidence(significance_level: float) -> str:
    """The confidence, in per cent, of an interval or a test at a significance level."""
    return f"{100 * (1 - significance_level):.1f} %"
