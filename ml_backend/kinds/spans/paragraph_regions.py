"""The places of spans in the text of a dialogue.

Label Studio writes indexes of messages as texts, and offsets in UTF-16 units in the text of a message. Between two
messages, the marked text also has what Label Studio shows beside the second one. For a region that comes from a
prediction, Label Studio writes a marked text that is not at the offsets if the message has several blanks together: it
counts the offsets in the text with single blanks. Where that cuts an emoji in half, Label Studio stores a text that its
API cannot send any more, and answers all requests for the annotation with status 500: such spans are not written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

from ml_backend.core.displayed_text.located_dialogue import locate_dialogue
from ml_backend.core.displayed_text.located_text import LocatedText, from_utf16, utf16_offsets
from ml_backend.core.displayed_text.object_lists import dialogue_text
from ml_backend.core.schema import DialogueField
from ml_backend.kinds.spans.marked_text import MarkedText, whole_numbers, without_blanks

_BLANKS = re.compile(r"[ \t\n\f\r]+")


class ParagraphRegions:
    """The places in one dialogue. The arguments are those of `locate_dialogue`."""

    def __init__(self, value: Any, dialogue: DialogueField, *, is_sorted: bool) -> None:
        self.text = dialogue_text(value, dialogue)
        self._arguments = value, dialogue, is_sorted
        self._marked_text = MarkedText(self.text)

    def find(self, place: Mapping[str, Any], marked: str) -> tuple[int, int] | None:
        """The span at a place, None if there is none. `marked`: the text that is marked there, "" if it is unknown"""
        near = []
        for begin, end in self._positions(place):
            if span := self._located.span(begin, end):
                if self._is_marked(begin, end, marked):
                    return span
                near.append(span[0])
        return self._marked_text.nearest(marked, near[0]) if near else None

    def place(self, start: int, end: int) -> dict[str, Any] | None:
        """The place of a span of the text, None if it begins or ends in the name of an author, or cannot be stored."""
        positions = self._located.positions(start, end)
        if positions is None:
            return None
        first, first_offset, last, last_offset = self._located.offsets(*positions)
        blocks = self._located.blocks_between(*positions)
        if _cuts_character(blocks[0].text, first_offset) or _cuts_character(blocks[-1].text, last_offset):
            return None
        marked = "\n".join(" ".join(text.split()) for text in self._texts(*positions))
        return {"start": first, "end": last, "startOffset": first_offset, "endOffset": last_offset, "text": marked}

    @cached_property
    def _located(self) -> LocatedText:
        value, dialogue, is_sorted = self._arguments
        return locate_dialogue(value, dialogue, is_sorted=is_sorted)

    def _positions(self, place: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
        """Yields the positions that the offsets stand for as UTF-16 units, and as characters, in ascending order."""
        indexes = whole_numbers(place.get("start"), place.get("end"))
        offsets = whole_numbers(place.get("startOffset"), place.get("endOffset"))
        if indexes is None or offsets is None:
            return
        keys = [str(index) for index in indexes]
        for positions in (
            [self._located.position(key, offset) for key, offset in zip(keys, offsets, strict=True)],
            [self._located.character_position(key, offset) for key, offset in zip(keys, offsets, strict=True)],
        ):
            known = sorted(position for position in positions if position is not None)
            if len(known) == 2:
                yield known[0], known[1]

    def _is_marked(self, begin: int, end: int, marked: str) -> bool:
        """Whether a region between two positions may have the marked text. Over several messages, only what is marked
        in the first and in the last one is compared."""
        wanted = without_blanks(marked)
        first, *others = (without_blanks(text) for text in self._texts(begin, end))
        if not marked or (wanted.startswith(first) and wanted.endswith(others[-1]) if others else wanted == first):
            return True
        return without_blanks("".join(self._miscounted_texts(begin, end))) == wanted

    def _texts(self, begin: int, end: int) -> list[str]:
        """The characters between two positions, in the text of each message."""
        blocks = self._located.blocks_between(begin, end)
        return [block.text[max(begin - block.start, 0) : end - block.start] for block in blocks]

    def _miscounted_texts(self, begin: int, end: int) -> list[str]:
        """The texts that Label Studio writes for two positions in a prediction."""
        texts = [_with_single_blanks(block.text) for block in self._located.blocks_between(begin, end)]
        _, first_offset, _, last_offset = self._located.offsets(begin, end)
        texts[-1] = texts[-1][: from_utf16(texts[-1], last_offset)]
        texts[0] = texts[0][from_utf16(texts[0], first_offset) :]
        return texts


@lru_cache(maxsize=8)
def _with_single_blanks(text: str) -> str:
    """The text of a message as a browser shows it."""
    return _BLANKS.sub(" ", text).strip(" ")


def _cuts_character(message: str, offset: int) -> bool:
    """Whether an offset in UTF-16 units, counted in the text with single blanks, is in the middle of a character."""
    text = _with_single_blanks(message)
    return offset < utf16_offsets(text)[-1] and from_utf16(text, offset) is None
