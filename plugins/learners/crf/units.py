"""The units in which texts are tagged: words, or parts of words where annotators mark these.

A span can be learnt only if it begins and ends between two units. Each part has the vector of its word, so that nothing
is encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import regex

_MARKS = r"[\p{M}\u200d]*+"
_DIGITS = rf"(?:\p{{N}}{_MARKS})++"
_CAPITALS = rf"(?:\p{{Lu}}{_MARKS})+(?!\p{{Ll}})"
_LETTERS = rf"(?:\p{{Lu}}{_MARKS})?+(?:(?!\p{{Lu}})\p{{L}}{_MARKS})++"
_PART = regex.compile(rf"{_DIGITS}|{_CAPITALS}|{_LETTERS}|\X")


class Units(StrEnum):
    """The units of a text.

    WORDS  as `core.words.word_offsets` cuts them
    PARTS  words cut between letters, digits and signs, and before a capital letter that begins a part: 10mg has two
           parts, #London2012 has three, and each sign of an address is one
    """

    WORDS = "words"
    PARTS = "parts"


def cut_words(
    text: str, starts: Sequence[int], ends: Sequence[int], units: Units
) -> tuple[list[int], list[int], list[int]]:
    """Cuts the words of a text, which have these offsets, into units. Returns of each unit the first character, the
    character behind it, and the number of its word."""
    if units == Units.WORDS:
        return [*starts], [*ends], [*range(len(starts))]
    parts = [
        (start + part.start(), start + part.end(), word)
        for word, (start, end) in enumerate(zip(starts, ends, strict=True))
        for part in _PART.finditer(text[start:end])
    ]
    return [start for start, _, _ in parts], [end for _, end, _ in parts], [word for _, _, word in parts]
