"""Formats a number with its noun, for messages of any layer."""

from __future__ import annotations


def format_count(n: int, noun: str) -> str:
    """A number with its noun, whose plural is regular: `1 task`, `3 tasks`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
