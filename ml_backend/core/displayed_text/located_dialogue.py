"""Finds the characters of the text of a dialogue on the labelling screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.displayed_text.html_text import single_blanks
from ml_backend.core.displayed_text.located_text import LocatedText
from ml_backend.core.displayed_text.object_lists import dialogue_text, line_start, list_items, readable_text
from ml_backend.core.schema import DialogueField

MAX_TIME = 1e12  # seconds


@dataclass(frozen=True, slots=True)
class Message:
    """The displayed text of a message. `key`: the index at which it is displayed"""

    key: str
    start: int
    text: str


def locate_dialogue(value: Any, dialogue: DialogueField, *, is_sorted: bool = False) -> LocatedText:
    """The `dialogue_text` and where Label Studio 1.23 displays the characters of the messages. Names of authors are not
    displayed where they can be marked. `is_sorted`: whether the messages are displayed in the order of their times"""
    items = list_items(value)
    shown_indexes = _indexes_by_time(items) if is_sorted else range(len(items))
    text = dialogue_text(value, dialogue)
    messages: list[Message] = []
    position = 0
    all_begins: list[Ints] = [np.zeros(0, np.int64)]
    all_ends: list[Ints] = [np.zeros(0, np.int64)]
    for index, item in zip(shown_indexes, items, strict=True):
        message: Mapping[str, Any] = item if isinstance(item, dict) else {}
        raw = readable_text(message.get(dialogue.text_key))
        line, begins, ends = single_blanks(raw)
        name = line_start(message, dialogue)
        if name or line:
            before = np.full(len(name), position)
            after = np.array([position + len(raw)])  # the line break after the message
            all_begins += [before, position + begins, after]
            all_ends += [before, position + ends, after]
        messages.append(Message(str(index), position, raw))
        position += len(raw) + 1
    begins, ends = (np.concatenate(arrays)[: len(text)] for arrays in (all_begins, all_ends))
    return LocatedText(text, begins, ends, messages)


def _indexes_by_time(items: Sequence[Any]) -> list[int]:
    """For each message its index among all in the order of their starts and ends. Those without a start come last."""
    rows = sorted(range(len(items)), key=lambda row: _times(items[row]))
    indexes = [0] * len(items)
    for index, row in enumerate(rows):
        indexes[row] = index
    return indexes


def _times(item: Any) -> tuple[bool, float, float]:
    fields = item if isinstance(item, dict) else {}
    start, end, duration = (_number(fields.get(name)) for name in ("start", "end", "duration"))
    return (False, start, end or start + duration) if start else (True, 0.0, 0.0)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < MAX_TIME else 0.0
