"""Finds the characters of a task's text on the labelling screen, and the reverse.

What is displayed consists of blocks: the text nodes of HTML, or the messages of a dialogue. The position of a character
is a number that increases over all blocks. Positions count code points, as Python does; Label Studio counts the offset
in a block in UTF-16 units, as browsers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from ml_backend.core.arrays import Ints


class Block(Protocol):
    """A displayed text, the position of its first character, and the key by which Label Studio refers to it, "" if it
    is unknown."""

    @property
    def start(self) -> int: ...

    @property
    def text(self) -> str: ...

    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class LocatedText:
    """A text of n characters and where they are displayed.

    begins, ends  (n,) for each character the position at which it begins, and the one at which it ends; in ascending
                  order. A blank may stand for several characters. Where both are equal, nothing is displayed
    blocks        in the order of their positions
    """

    text: str
    begins: Ints
    ends: Ints
    blocks: Sequence[Block]

    def first(self, n: int) -> LocatedText:
        """The first n characters."""
        return LocatedText(self.text[:n], self.begins[:n], self.ends[:n], self.blocks)

    def positions(self, start: int, end: int) -> tuple[int, int] | None:
        """The positions at which a span of the text begins and ends, None if Label Studio cannot mark exactly this
        span: its first or its last character is not displayed."""
        begin, last = int(self.begins[start]), int(self.ends[end - 1])
        return (begin, last) if self.span(begin, last) == (start, end) else None

    def span(self, begin: int, end: int) -> tuple[int, int] | None:
        """The span of the text between two positions, None if it is empty."""
        first = int(np.searchsorted(self._displayed_ends, begin, "right"))
        last = int(np.searchsorted(self._displayed_begins, end, "left"))
        return (int(self._displayed[first]), int(self._displayed[last - 1]) + 1) if first < last else None

    def offsets(self, begin: int, end: int) -> tuple[str, int, str, int]:
        """Two positions, between which there are characters, as keys of blocks and offsets in UTF-16 units: the block
        of the first character and that of the last one."""
        blocks = self.blocks_between(begin, end)
        first, last = blocks[0], blocks[-1]
        return (
            first.key,
            int(utf16_offsets(first.text)[begin - first.start]),
            last.key,
            int(utf16_offsets(last.text)[end - last.start]),
        )

    def position(self, key: str, offset: int) -> int | None:
        """The position at an offset, in UTF-16 units, in a block; None if there is none."""
        block = self._blocks_by_key.get(key)
        return None if block is None else self.character_position(key, from_utf16(block.text, offset))

    def character_position(self, key: str, offset: int | None) -> int | None:
        """The position at an offset, in characters, in a block; None if there is none."""
        block = self._blocks_by_key.get(key)
        return block.start + offset if block and offset is not None and 0 <= offset <= len(block.text) else None

    def blocks_between(self, begin: int, end: int) -> Sequence[Block]:
        """The blocks that have characters between two positions."""
        return self.blocks[self._block_at(begin) : self._block_at(end - 1) + 1]

    def _block_at(self, position: int) -> int:
        return int(np.searchsorted(self._block_starts, position, "right")) - 1

    @cached_property
    def _displayed(self) -> Ints:
        return np.flatnonzero(self.begins < self.ends)

    @cached_property
    def _displayed_begins(self) -> Ints:
        return self.begins[self._displayed]

    @cached_property
    def _displayed_ends(self) -> Ints:
        return self.ends[self._displayed]

    @cached_property
    def _block_starts(self) -> Ints:
        return np.array([block.start for block in self.blocks], np.int64)

    @cached_property
    def _blocks_by_key(self) -> dict[str, Block]:
        return {key: block for block in self.blocks if (key := block.key)}


@lru_cache(maxsize=8)
def utf16_offsets(text: str) -> Ints:
    """(n + 1,) the number of UTF-16 units before each of n characters, and in the whole text."""
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.concatenate([[0], np.cumsum(1 + (code_points > 0xFFFF))])


def from_utf16(text: str, offset: int) -> int | None:
    """The number of characters in the first `offset` UTF-16 units; None if the text has fewer units, or if the last of
    them is a half of a character."""
    units = utf16_offsets(text)
    characters = int(np.searchsorted(units, offset))
    return characters if characters < len(units) and units[characters] == offset else None
