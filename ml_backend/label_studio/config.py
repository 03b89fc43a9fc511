"""Label Studio's labelling configuration (XML) -> TaskSchema."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ml_backend.domain import ApprenticeError, TaskSchema

SHOWN = ("Text", "HyperText", "Table")
"""Tags that show what can be asked about."""


class UnsupportedConfig(ApprenticeError):
    """The labelling configuration asks for something that is not served."""


@lru_cache(maxsize=256)
def read_schema(label_config: str) -> TaskSchema:
    """Finds the first `Choices` over a `Text`, a `HyperText` or a `Table`. Raises UnsupportedConfig saying what is
    missing."""
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        interface = LabelInterface(label_config)
        controls = list(interface.controls)
    except Exception as error:  # the SDK raises whatever lxml, its own validation or a missing attribute raise
        raise UnsupportedConfig(
            "The labelling configuration cannot be read: it is not valid XML of Label Studio"
        ) from error
    problems = []
    for control in controls:
        if control.tag != "Choices":
            continue
        try:
            return _choices(control, list(interface.objects))
        except UnsupportedConfig as problem:
            problems.append(str(problem))
    raise UnsupportedConfig(
        problems[0]
        if problems
        else "The labelling configuration has no <Choices> over a <Text>, a <HyperText> or a <Table>: add one, that is "
        "what can be learnt here"
    )


def _choices(control: Any, objects: list[Any]) -> TaskSchema:
    """With a Table in the configuration, or several fields in its Texts and HyperTexts, a task is a record."""
    name = control.name
    if control.dynamic_value:
        raise UnsupportedConfig(
            f"<Choices name={name!r}> takes its choices from the task: list them in the configuration"
        )
    about = next((tag for tag in control.objects or () if tag.tag in SHOWN), None)
    if about is None:
        raise UnsupportedConfig(
            f"<Choices name={name!r}> does not point at a <Text>, a <HyperText> or a <Table> (toName)"
        )
    if {"perRegion", "perItem"} & control.attr.keys():
        raise UnsupportedConfig(f"<Choices name={name!r}> is asked for each region: only whole texts can be classified")
    if not _fields(about):
        raise UnsupportedConfig(
            f"<{about.tag} name={about.name!r}> must take its value from the task, for example ${about.tag.lower()}, "
            "and no URL"
        )
    shown = [about, *(tag for tag in objects if tag.tag in SHOWN)]
    table = next((field for tag in shown if tag.tag == "Table" for field in _fields(tag)), "")
    fields = tuple(dict.fromkeys(field for tag in shown if tag.tag != "Table" for field in _fields(tag)))
    html = {field for tag in shown if tag.tag == "HyperText" for field in _fields(tag)}
    is_text = not table and len(fields) == 1
    labels = tuple(dict.fromkeys(control.labels))
    multiple = control.attr.get("choice") == "multiple"
    if len(labels) < (1 if multiple else 2):
        raise UnsupportedConfig(f"<Choices name={name!r}> has too few choices to learn from")
    hints = tuple(str(control.labels_attrs[label].attr.get("hint") or "") for label in labels)
    return TaskSchema(
        labels,
        multiple,
        control=name,
        source=about.name,
        text_field=fields[0] if is_text else "",
        hints=hints if any(hints) else (),
        record_field=table,
        fields=() if is_text else fields,
        html=tuple(field for field in fields if field in html),
    )


def _fields(tag: Any) -> list[str]:
    """The task's fields that a tag shows: "$age", or, among words, "Age: $age, job: $person.job". Items of lists, as in
    "$items[0]", are not read."""
    value = str(tag.value or "") if tag.attr.get("valueType") != "url" else ""
    if re.search(r"\$[\w.]+\[", value):
        return []
    if whole := re.fullmatch(r"\$([\w.-]+)", value):
        return [whole[1]]
    return re.findall(r"\$([^\W\d]\w*(?:\.\w+)*)", value) if tag.tag != "Table" else []
