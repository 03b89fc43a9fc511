"""The places of spans in a `Text`.

`start` and `end` count code points, as Python does, and a line break of two characters counts as two. Exports of
earlier releases of Label Studio count UTF-16 units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ml_backend.core.displayed_text.located_text import from_utf16
from ml_backend.kinds.spans.marked_text import MarkedText, whole_numbers

_LINE_BREAK = re.compile(r"[\r\n]")


class TextRegions:
    """The places in one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._marked_text = MarkedText(text)

    def find(self, place: Mapping[str, Any], marked: str) -> tuple[int, int] | None:
        """The span at a place, None if there is none. `marked`: the text that is marked there, "" if it is unknown"""
        offsets = whole_numbers(place.get("start"), place.get("end"))
        if offsets is None:
            return None
        start, end = sorted(offsets)
        spans = [(start, end)]
        first, last = from_utf16(self.text, start), from_utf16(self.text, end)
        if first is not None and last is not None:
            spans.append((first, last))
        return self._marked_text.choose(spans, marked) or self._marked_text.nearest(marked, start)

    def place(self, start: int, end: int) -> dict[str, Any]:
        """The place of a span of the text."""
        return {"start": start, "end": end, "text": _LINE_BREAK.sub(r"\\n", self.text[start:end])}
