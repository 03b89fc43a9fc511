"""Finds the characters of a text that a region of a `Text` means.

Measured on Label Studio 1.23: `start` and `end` count code points, as Python does, `end` is exclusive, and a line break
of two characters counts as two. Exports of earlier releases count UTF-16 units. `text` is the marked text, in which runs
of blanks may be one blank.
"""

from __future__ import annotations

from typing import Any

MAX_OCCURRENCES = 1000
"""Occurrences of a marked text that are compared with its offsets."""


def find_span(text: str, start: Any, end: Any, marked: Any) -> tuple[int, int] | None:
    """The span of a text that a region marks, None if there is none.

    start, end  the offsets of the region, numbers or texts of digits
    marked      the marked text, None if the region has none: then the offsets are taken as they are

    The offsets count if they are those of the marked text; else, if they are so in UTF-16 units; else the occurrence
    of the marked text counts that is nearest to them.
    """
    first, last = _offset(start), _offset(end)
    if first is None or last is None:
        return None
    first, last = min(first, last), max(first, last)
    if not isinstance(marked, str) or not marked.strip():
        return (first, last) if first < last <= len(text) else None
    words = marked.split()
    if first < last <= len(text) and text[first:last].split() == words:
        return first, last
    units = _from_utf16(text, first, last)
    if units is not None and text[units[0] : units[1]].split() == words:
        return units
    return _nearest(text, marked.strip(), first)


def _offset(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()[:9])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _from_utf16(text: str, first: int, last: int) -> tuple[int, int] | None:
    """The span whose offsets in UTF-16 units are given, None if they lie inside a character or beyond the text."""
    if text.isascii():
        return None
    encoded = text.encode("utf-16-le", "surrogatepass")
    if 2 * last > len(encoded):
        return None
    try:
        before = encoded[: 2 * first].decode("utf-16-le")
        return len(before), len(before) + len(encoded[2 * first : 2 * last].decode("utf-16-le"))
    except UnicodeDecodeError:
        return None


def _nearest(text: str, marked: str, first: int) -> tuple[int, int] | None:
    best: int | None = None
    at = text.find(marked)
    for _ in range(MAX_OCCURRENCES):
        if at < 0:
            break
        if best is None or abs(at - first) < abs(best - first):
            best = at
        at = text.find(marked, at + 1)
    return None if best is None else (best, best + len(marked))
