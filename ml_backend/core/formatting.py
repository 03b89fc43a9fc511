"""Numbers as they stand in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def points(share: float) -> str:
    """Hundredths, with their sign: one decimal, of small ones the first digit that is not 0."""
    return f"{100 * share:+.1f}" if abs(share) >= 0.001 else f"{100 * share + 0.0:+.1g}"


def span(ends: Sequence[float]) -> str:
    return " to ".join(map(points, ends))


def chance(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def sureness(level: float) -> str:
    return f"{100 * (1 - level):.1f} %"


def counted(n: int, thing: str) -> str:
    """So many things, of a regular plural."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
