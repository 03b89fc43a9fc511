"""Texts of deleted tasks, and how they are found in documents that quote them.

What a document costs depends on its length and hardly on how many texts are looked for: a rolling hash of `WINDOW`
characters (Karp and Rabin, "Efficient Randomized Pattern-Matching Algorithms", 1987) says where one may begin.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ml_backend.domain import Ints

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
WINDOW = 16
"""Characters that are hashed together: a power of two, and no more than `SHORT`."""
HASH_BITS = 20
MULTIPLIER = 0x9E3779B97F4A7C15
FACTORS = [(width, pow(MULTIPLIER, width, 2**64)) for width in (1, 2, 4, 8)]
"""How two hashes of so many characters make one of twice as many, up to `WINDOW`."""
Quoting = Literal["anywhere", "in prose", "nowhere"]
"""Where strings may quote texts, and not only be one: in a prompt anywhere, in a document but for what stands for a
text of its own, in what is about another text nowhere."""


class GoneTexts:
    """Texts that are to be found in documents, also cut short, in one line, or inside of JSON that is text itself."""

    def __init__(self, texts: Collection[str]) -> None:
        wordings = {wording for text in texts for wording in (text, " ".join(text.split())) if wording}
        self._whole = sorted(wordings)
        self._is_whole = wordings
        self._quoted = {wording for wording in wordings if len(wording) < SHORT}
        self._quoted_lengths = sorted({len(wording) for wording in self._quoted}, reverse=True)
        self._beginnings: dict[str, list[str]] = {}
        for wording in wordings - self._quoted:
            self._beginnings.setdefault(wording[:WINDOW], []).append(wording)
        self._hashes = np.zeros(2**HASH_BITS, np.bool_)
        if self._beginnings:
            self._hashes[_hashes("".join(self._beginnings))[::WINDOW]] = True

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
        end = 0
        for start in sorted({*self._may_begin(value), *self._may_be_quoted(value)}):
            if start >= end and (length := self._length_at(value, start)):
                end = start + length
                yield start, end

    def _may_begin(self, value: str) -> list[int]:
        """Where the hash of one of the long ones is."""
        if not self._beginnings or len(value) < WINDOW:
            return []
        found: Ints = np.flatnonzero(self._hashes[_hashes(value)])
        return found.tolist()  # type: ignore[no-any-return]

    def _may_be_quoted(self, value: str) -> Iterator[int]:
        at = value.find('"') if self._quoted else -1
        while at >= 0:
            yield at
            at = value.find('"', at + 1)

    def _length_at(self, value: str, start: int) -> int:
        """How many characters from there on are one of them, as far as it goes; 0 if it is none."""
        lengths = [
            length + 2
            for length in (self._quoted_lengths if value[start] == '"' else ())
            if value[start + length + 1 : start + length + 2] == '"'
            and value[start + 1 : start + length + 1] in self._quoted
        ]
        for wording in self._beginnings.get(value[start : start + WINDOW], ()):
            if value.startswith(wording[:TELLING], start):
                lengths.append(_agreement(wording, value, start))
        return max(lengths, default=0)


def _agreement(wording: str, value: str, start: int) -> int:
    """How many characters of a wording stand in a string from `start` on."""
    low, high = 0, len(wording)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if value.startswith(wording[:middle], start) else (low, middle - 1)
    return low


def _hashes(value: str) -> npt.NDArray[np.uint64]:
    """(n - WINDOW + 1,) the hash of the characters from each place on, below 2 ** HASH_BITS: of single ones, then of
    two, four, … that stand side by side."""
    found = np.frombuffer(value.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    for width, factor in FACTORS:
        found = found[:-width] * np.uint64(factor) + found[width:]
    return np.asarray(found * np.uint64(MULTIPLIER) >> np.uint64(64 - HASH_BITS))
