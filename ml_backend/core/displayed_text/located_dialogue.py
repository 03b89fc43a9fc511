"""Finds the characters of the text of a dialogue on the labelling screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.displayed_text.html_text import single_blanks
from ml_backend.core.displayed_text.located_text import LocatedText
from ml_backend.core.displayed_text.object_lists import dialogue_text, line_start, list_items, readable_text
from ml_backend.core.schema import DialogueField


@dataclass(frozen=True, slots=True)
class Message:
    """The displayed text of a message. `key`: the index of the message"""

    key: str
    start: int
    text: str


def locate_dialogue(value: Any, dialogue: DialogueField) -> LocatedText:
    """The `dialogue_text` and where Label Studio 1.23 displays the characters of the messages. Names of authors are not
    displayed where they can be marked."""
    text = dialogue_text(value, dialogue)
    messages: list[Message] = []
    position = 0
    all_begins: list[Ints] = [np.zeros(0, np.int64)]
    all_ends: list[Ints] = [np.zeros(0, np.int64)]
    for index, item in enumerate(list_items(value)):
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
