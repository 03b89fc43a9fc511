"""Quotes spans with the words around them, between tags with their labels."""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.words import word_offsets
from ml_backend.kinds.spans.values import Span

CONTEXT_WORDS = 6
"""Words that are quoted before the first and after the last span."""
MAX_CONTEXT_CHARACTERS = 80
"""Characters in which these words are searched."""
MAX_PART_CHARACTERS = 80
"""Characters between two tags that are quoted. The middle of a longer part is left out."""
ELLIPSIS = "…"


def quote_spans(spans: Sequence[Span], text: str, *, in_context: bool = True) -> str:
    """The part of a text that has the spans, in one line. Each span is between tags: `in <Place>Paris</Place> we`. ""
    without spans, and if a span is not in the text. `in_context`: with the words before and after the spans"""
    if not spans or any(not 0 <= start < end <= len(text) for start, end, _ in spans):
        return ""
    first, last = min(start for start, _, _ in spans), max(end for _, end, _ in spans)
    begin, finish = (_context_start(text, first), _context_end(text, last)) if in_context else (first, last)
    opened = sorted(spans, key=lambda span: (span[0], -span[1], span[2]))
    quote = f"{ELLIPSIS} " if in_context and begin else ""
    positions = sorted({begin, finish, *(offset for start, end, _ in spans for offset in (start, end))})
    for position, following in zip(positions, [*positions[1:], finish], strict=True):
        quote += "".join(f"</{label}>" for _, end, label in reversed(opened) if end == position)
        quote += "".join(f"<{label}>" for start, _, label in opened if start == position)
        quote += _shortened(text[position:following])
    quote += f" {ELLIPSIS}" if in_context and finish < len(text) else ""
    return " ".join(quote.split())


def _context_start(text: str, start: int) -> int:
    """The first character of the `CONTEXT_WORDS` words before character `start`, 0 if there are no more words."""
    window = max(start - MAX_CONTEXT_CHARACTERS, 0)
    starts, _ = word_offsets(text[window:start])
    if len(starts) <= CONTEXT_WORDS and not window:
        return 0
    return window + int(starts[-CONTEXT_WORDS:][0]) if len(starts) else start


def _context_end(text: str, end: int) -> int:
    """The character behind the `CONTEXT_WORDS` words after character `end`, the length of the text if there are no more
    words."""
    window = end + MAX_CONTEXT_CHARACTERS
    _, ends = word_offsets(text[end:window])
    if len(ends) <= CONTEXT_WORDS and window >= len(text):
        return len(text)
    return end + int(ends[:CONTEXT_WORDS][-1]) if len(ends) else end


def _shortened(part: str) -> str:
    """A part of a text without its middle if it is long."""
    half = MAX_PART_CHARACTERS // 2
    return part if len(part) <= MAX_PART_CHARACTERS else f"{part[:half]} {ELLIPSIS} {part[-half:]}"
