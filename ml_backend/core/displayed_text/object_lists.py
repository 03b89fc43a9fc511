"""Reads lists of objects, as dialogues and lists are stored, as texts that keep their structure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ml_backend.core.displayed_text.html_text import visible_text
from ml_backend.core.schema import DialogueField

MAX_OBJECT_CHARACTERS = 20_000  # of one value of an object
MAX_LIST_CHARACTERS = 20_000  # from which no more objects are read


def dialogue_text(value: Any, dialogue: DialogueField) -> str:
    """The messages of a dialogue, "author: text" in a line each; "" if `value` is no dialogue."""
    messages = _objects(value)
    return _joined(line_start(message, dialogue) + _line(message.get(dialogue.text_key)) for message in messages)


def line_start(message: Mapping[str, Any], dialogue: DialogueField) -> str:
    """What comes before the text of a message in its line of the dialogue: the author."""
    author, text = _line(message.get(dialogue.author_key)), _line(message.get(dialogue.text_key))
    return f"{author}: " if author and text else ""


def list_text(value: Any) -> str:
    """The items of a list, "1. title: body" in a line each; "" if `value` is no list. Label Studio shows the HTML of an
    item, if it has any, in place of its body."""
    lines = []
    for number, item in enumerate(_objects(value), 1):
        html = item.get("html")
        body = visible_text(html[:MAX_OBJECT_CHARACTERS]) if isinstance(html, str) and html else _line(item.get("body"))
        content = ": ".join(part for part in (_line(item.get("title")), body) if part)
        lines.append(f"{number}. {content}" if content else "")
    return _joined(lines)


def list_items(value: Any) -> list[Any]:
    """The items of a list; [] if `value` is none. After an import from CSV, a list may be JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return value if isinstance(value, list) else []


def readable_text(value: Any) -> str:
    """A text or a number as text, at most `MAX_OBJECT_CHARACTERS` of it; "" for any other value."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    return str(value)[:MAX_OBJECT_CHARACTERS]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in list_items(value) if isinstance(item, dict)]


def _line(value: Any) -> str:
    return " ".join(readable_text(value).split())


def _joined(lines: Iterable[str]) -> str:
    """The lines that are not empty, up to `MAX_LIST_CHARACTERS`."""
    kept: list[str] = []
    length = 0
    for line in filter(None, lines):
        if length >= MAX_LIST_CHARACTERS:
            break
        kept.append(line)
        length += len(line) + 1
    return "\n".join(kept)[:MAX_LIST_CHARACTERS]
