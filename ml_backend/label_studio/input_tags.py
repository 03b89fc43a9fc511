"""Reads the object tags of a labelling configuration: the fields of a task's data that annotators see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ml_backend.core.schema import DialogueField, InputSpec, ObjectTag

OBJECT_TAGS = ("Text", "HyperText", "Paragraphs", "Chat", "List", "Table")
"""The object tags whose content is read. Measured on Label Studio 1.23: the server takes a <Chat>, and the labelling
screen of the Community edition does not show it."""
TEXT_TAGS = ("Text", "HyperText")
"""The object tags whose value may have text around the names of fields."""


WHOLE_FIELD = re.compile(r"\$([\w.-]+)")
"""A `value` of a tag that consists of a single field of the task, whose name is the group."""


def read_input(tags: Sequence[Any]) -> InputSpec:
    """The input of a project. A task is a record if the `tags`, objects of the SDK, have a Table, or several fields in
    other tags. The fields have the order of the tags."""
    table = next((field for tag in tags if tag.tag == "Table" for field in tag_fields(tag)), "")
    fields = tuple(dict.fromkeys(field for tag in tags if tag.tag != "Table" for field in tag_fields(tag)))
    html = {field for tag in tags if tag.tag == "HyperText" for field in tag_fields(tag)}
    is_text = not table and len(fields) == 1
    return InputSpec(
        text_field=fields[0] if is_text else "",
        record_field=table,
        fields=() if is_text else fields,
        html=tuple(field for field in fields if field in html),
        dialogues=tuple(_dialogue_fields(tags)),
        lists=tuple(dict.fromkeys(field for tag in tags if tag.tag == "List" for field in tag_fields(tag))),
    )


def _dialogue_fields(tags: Iterable[Any]) -> Iterator[DialogueField]:
    """The fields of the dialogues, each once. The keys of a <Paragraphs> have the defaults of Label Studio."""
    seen: set[str] = set()
    for tag in tags:
        for field in tag_fields(tag) if tag.tag in ("Paragraphs", "Chat") else ():
            if field not in seen:
                seen.add(field)
                is_chat = tag.tag == "Chat"
                author_key = "role" if is_chat else _attribute(tag, "nameKey", "author")
                yield DialogueField(field, author_key, "content" if is_chat else _attribute(tag, "textKey", "text"))


def tag_fields(tag: Any) -> list[str]:
    """The fields of the task's data that the value of a tag names, as in "$age" or "Age: $age, job: $person.job". There
    are none if the value is a URL or names an item of a list, as in "$items[0]"."""
    value = str(tag.value or "") if _attribute(tag, "valueType", "") != "url" else ""
    if re.search(r"\$[\w.]+\[", value):
        return []
    if whole := WHOLE_FIELD.fullmatch(value):
        return [whole[1]]
    return re.findall(r"\$([^\W\d]\w*(?:\.\w+)*)", value) if tag.tag in TEXT_TAGS else []


def read_object_tag(tag: Any) -> ObjectTag:
    """An object tag, without the attributes that it shares with all tags."""
    attributes = {key.lower(): str(value) for key, value in tag.attr.items()}
    own_attributes = {key: value for key, value in attributes.items() if key not in ("name", "value")}
    return ObjectTag(tag.name, tag.tag, str(tag.value or ""), tuple(sorted(own_attributes.items())))


def _attribute(tag: Any, name: str, default: str) -> str:
    """The value of an attribute, `default` if it is missing or empty. Label Studio ignores the letter case of names."""
    return next((str(value) for key, value in tag.attr.items() if key.lower() == name.lower()), "") or default
