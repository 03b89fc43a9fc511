"""Texts of deleted tasks, and how they are found in documents that quote them.

All texts are looked for at once (Aho and Corasick, "Efficient String Matching", 1975): what a document costs depends on
its length, and not on how many they are.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal

from ahocorasick import Automaton

TELLING = 60
"""Characters of a text by which it is known again, however it was cut short after them."""
SHORT = 20
"""Characters below which a text may be a label's name, or any words: it is looked for where texts stand, and in quotes
elsewhere."""
TEXT_NAMES = {"text", "texts", "examples", "records", "hard", "easy"}
"""The names under which documents hold texts."""
LABEL_NAMES = {"labels", "label", "shares", "reply", "choices", "instead"}
"""The names under which documents hold names of labels, which may be those of texts."""
CUT = "…"
"""How a text ends that was cut short."""
Quoting = Literal["anywhere", "in prose", "nowhere"]
"""Which strings of a document may quote a text: all of them; those that are no texts of their own; or none, since each
can only be one of the texts."""


class DeletedTexts:
    """Texts that are to be found in documents, also cut short, in one line, or inside of JSON that is text itself."""

    def __init__(self, texts: Collection[str]) -> None:
        wordings = {wording for text in texts for wording in (text, " ".join(text.split()), *_escaped(text)) if wording}
        self._whole = sorted(wordings)
        self._is_whole = wordings
        quotes = {wording if len(wording) >= SHORT else f'"{wording}"' for wording in wordings}
        self._known_by = Automaton()
        for beginning, some in groupby(sorted(quotes), lambda quote: quote[:TELLING]):
            self._known_by.add_word(beginning, (len(beginning), list(some)))
        self._known_by.make_automaton()

    def changes(self, document: Mapping[str, Any], quoting: Quoting) -> dict[str, Any]:
        """The columns of a row that are other ones without them."""
        cleaned = {name: self.without(value, name, quoting) for name, value in document.items()}
        return {name: value for name, value in cleaned.items() if value != document[name]}

    def without(self, value: Any, name: str, quoting: Quoting) -> Any:
        """The document, whose value stands under a name, without them: "" where one of them was all of a string."""
        if name in LABEL_NAMES:
            return value
        if isinstance(value, dict):
            return {key: self.without(inner, str(key), quoting) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.without(inner, name, quoting) for inner in value]
        if not isinstance(value, str) or not value:
            return value
        if (name in TEXT_NAMES or len(value) >= SHORT) and self._is_one(value):
            return ""
        may_quote = quoting == "anywhere" or (quoting == "in prose" and name not in TEXT_NAMES)
        return self._without_quotes(value, name, quoting) if may_quote else value

    def _is_one(self, value: str) -> bool:
        """Whether a string is one of them, whole or cut short."""
        if value in self._is_whole:
            return True
        if not value.endswith(CUT):
            return False
        start = value.removesuffix(CUT).rstrip()
        at = bisect_left(self._whole, start)
        longer = next((text for text in self._whole[at : at + 2] if text != start), "")
        return bool(longer) and longer.startswith(start)

    def _without_quotes(self, value: str, name: str, quoting: Quoting) -> str:
        if value.startswith(("[", "{")):
            try:
                document = json.loads(value)
            except ValueError:
                return self._cut_out(value)
            cleaned = self.without(document, name, quoting)
            return value if cleaned == document else json.dumps(cleaned, ensure_ascii=False)
        return self._cut_out(value)

    def _cut_out(self, value: str) -> str:
        """The string without what agrees with one of the texts from its beginning on."""
        while quotes := list(self._quotes(value)):
            parts, end = [], 0
            for start, stop in quotes:
                parts.append(value[end:start])
                end = stop
            value = "".join([*parts, value[end:]])  # what stands beside each other now may be a quote, too
        return value

    def _quotes(self, value: str) -> Iterator[tuple[int, int]]:
        """Where one of them begins and ends, one after the other."""
        found: dict[int, int] = {}  # where one begins -> how many characters of it there are
        for last, (length, quotes) in self._known_by.iter(value) if self._whole else ():
            start = last + 1 - length
            found[start] = max(found.get(start, 0), *(_agreement(quote, value, start) for quote in quotes))
        end = 0
        for start, length in sorted(found.items()):
            if start >= end:
                end = start + length
                yield start, end


def _escaped(text: str) -> tuple[str, str]:
    """As a model quotes it that writes JSON."""
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _agreement(wording: str, value: str, start: int) -> int:
    """How many characters of a wording stand in a string from `start` on."""
    low, high = 0, len(wording)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if value.startswith(wording[:middle], start) else (low, middle - 1)
    return low
