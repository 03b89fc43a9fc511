"""Reads the object tags of a labelling configuration: the fields of a task's data that annotators see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ml_backend.core.schema import InputSpec

OBJECT_TAGS = ("Text", "HyperText", "Table")
"""The object tags whose content is read."""


def read_input(tags: Sequence[Any]) -> InputSpec:
    """The input of a project. A task is a record if the `tags`, objects of the SDK, have a Table, or several fields in
    Texts and HyperTexts. The fields have the order of the tags."""
    table = next((field for tag in tags if tag.tag == "Table" for field in tag_fields(tag)), "")
    fields = tuple(dict.fromkeys(field for tag in tags if tag.tag != "Table" for field in tag_fields(tag)))
    html = {field for tag in tags if tag.tag == "HyperText" for field in tag_fields(tag)}
    is_text = not table and len(fields) == 1
    return InputSpec(
        text_field=fields[0] if is_text else "",
        record_field=table,
        fields=() if is_text else fields,
        html=tuple(field for field in fields if field in html),
    )


def tag_fields(tag: Any) -> list[str]:
    """The fields of the task's data that the value of a tag names, as in "$age" or "Age: $age, job: $person.job". There
    are none if the value is a URL or names an item of a list, as in "$items[0]"."""
    value = str(tag.value or "") if tag.attr.get("valueType") != "url" else ""
    if re.search(r"\$[\w.]+\[", value):
        return []
    if whole := re.fullmatch(r"\$([\w.-]+)", value):
        return [whole[1]]
    return re.findall(r"\$([^\W\d]\w*(?:\.\w+)*)", value) if tag.tag != "Table" else []
