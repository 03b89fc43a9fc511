"""Compares the characters at the offsets of a region with the text that the region says it marks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.displayed_text.html_text import single_blanks

MAX_OFFSET = 2**31
_LINE_BREAK = re.compile(r"\\n")
"""Label Studio writes a line break of a marked text as a backslash and an n."""


def whole_number(value: Any) -> int | None:
    """An offset from a number or a text of digits, None if the value is neither, or negative."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_OFFSET else None


def whole_numbers(*values: Any) -> list[int] | None:
    """The `whole_number` of each value, None if one of them has none."""
    numbers = [number for value in values if (number := whole_number(value)) is not None]
    return numbers if len(numbers) == len(values) else None


def without_blanks(text: str) -> str:
    """The characters of a text or of a marked text that must be the same in both: browsers add and remove blanks."""
    return "".join(_LINE_BREAK.sub(" ", text).split())


class MarkedText:
    """A text of which regions mark spans."""

    def __init__(self, text: str) -> None:
        self.text = text

    def has(self, start: int, end: int, marked: str) -> bool:
        """Whether a span is in the text and has the marked text; "" for any text."""
        if not 0 <= start < end <= len(self.text):
            return False
        return not marked or without_blanks(self.text[start:end]) == without_blanks(marked)

    def choose(self, spans: Iterable[tuple[int, int]], marked: str) -> tuple[int, int] | None:
        """The first of the spans that has the marked text, if possible with the same blanks; None if none has it."""
        fitting = [span for span in spans if self.has(*span, marked)]
        return next((span for span in fitting if self.text[slice(*span)] == marked), next(iter(fitting), None))

    def nearest(self, marked: str, start: int) -> tuple[int, int] | None:
        """The occurrence of a marked text that begins nearest to `start`, None if there is none. Any blanks may be
        between its words."""
        text, begins, ends = self._single_blanks
        wanted = " ".join(_LINE_BREAK.sub(" ", marked).split())
        if not wanted:
            return None
        near = int(np.searchsorted(begins, start))
        places = (text.rfind(wanted, 0, near + len(wanted)), text.find(wanted, near))
        nearest = min((place for place in places if place >= 0), key=lambda place: abs(place - near), default=None)
        return None if nearest is None else (int(begins[nearest]), int(ends[nearest + len(wanted) - 1]))

    @cached_property
    def _single_blanks(self) -> tuple[str, Ints, Ints]:
        return single_blanks(_LINE_BREAK.sub("  ", self.text))
