"""The places of spans in the visible text of a `HyperText`.

Label Studio writes paths of text nodes with offsets in UTF-16 units, and `globalOffsets`, which count the code points
of all text nodes, and each <br> as one. It reads the paths, and `globalOffsets` if the paths lead nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from ml_backend.core.displayed_text.html_text import visible_text
from ml_backend.core.displayed_text.located_html import locate_html
from ml_backend.core.displayed_text.located_text import LocatedText
from ml_backend.kinds.spans.marked_text import MarkedText, whole_numbers


class HypertextRegions:
    """The places in one HTML. `n`: the number of characters of its visible text that count; `inline`: as in
    `locate_html`"""

    def __init__(self, html: str, n: int, *, inline: bool) -> None:
        self.text = visible_text(html)[:n]
        self._html, self._inline = html, inline
        self._marked_text = MarkedText(self.text)

    def find(self, place: Mapping[str, Any], marked: str) -> tuple[int, int] | None:
        """The span at a place, None if there is none. `marked`: the text that is marked there, "" if it is unknown"""
        positions = [*self._positions(place)]
        spans = [span for begin, end in positions if (span := self._located.span(begin, end))]
        if chosen := self._marked_text.choose(spans, marked):
            return chosen
        near = [start for start, _ in spans or positions]
        return self._marked_text.nearest(marked, near[0]) if near else None

    def place(self, start: int, end: int) -> dict[str, Any] | None:
        """The place of a span of the text, None if it is not known. Without known paths, the paths lead nowhere."""
        positions = self._located.positions(start, end)
        if positions is None:
            return None
        begin, finish = positions
        first, first_offset, last, last_offset = self._located.offsets(begin, finish)
        return {
            "start": first,
            "end": last,
            "startOffset": first_offset,
            "endOffset": last_offset,
            "globalOffsets": {"start": begin, "end": finish},
            "text": self.text[start:end],
        }

    @cached_property
    def _located(self) -> LocatedText:
        return locate_html(self._html, inline=self._inline).first(len(self.text))

    def _positions(self, place: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
        """Yields the positions that `globalOffsets` and the paths stand for, in ascending order."""
        displayed = place.get("globalOffsets")
        if isinstance(displayed, dict) and (offsets := whole_numbers(displayed.get("start"), displayed.get("end"))):
            yield min(offsets), max(offsets)
        offsets = whole_numbers(place.get("startOffset"), place.get("endOffset"))
        keys = (place.get("start"), place.get("end"))
        if offsets is None or not all(isinstance(key, str) for key in keys):
            return
        begin, end = (self._located.position(str(key), offset) for key, offset in zip(keys, offsets, strict=True))
        if begin is not None and end is not None:
            yield min(begin, end), max(begin, end)
