"""Label Studio's labelling configuration (XML) -> TaskSchema."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ml_backend.domain import ApprenticeError, TaskSchema


class UnsupportedConfig(ApprenticeError):
    """The labelling configuration asks for something that is not served."""


@lru_cache(maxsize=256)
def read_schema(label_config: str) -> TaskSchema:
    """Finds the first `Choices` over a `Text` or a `Table`. Raises UnsupportedConfig saying what is missing."""
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
        else "The labelling configuration has no <Choices> over a <Text> or a <Table>: add one, that is what can be "
        "learnt here"
    )


def _choices(control: Any, objects: list[Any]) -> TaskSchema:
    """With a Table in the configuration, a task is its record, and the first Text one more field of it."""
    name = control.name
    if control.dynamic_value:
        raise UnsupportedConfig(
            f"<Choices name={name!r}> takes its choices from the task: list them in the configuration"
        )
    about = next((tag for tag in control.objects or () if tag.tag in ("Text", "Table")), None)
    if about is None:
        raise UnsupportedConfig(f"<Choices name={name!r}> does not point at a <Text> or a <Table> (toName)")
    if {"perRegion", "perItem"} & control.attr.keys():
        raise UnsupportedConfig(f"<Choices name={name!r}> is asked for each region: only whole texts can be classified")
    table = (
        about if about.tag == "Table" else next((tag for tag in objects if tag.tag == "Table" and _takes(tag)), None)
    )
    text = about if about.tag == "Text" else next((tag for tag in objects if tag.tag == "Text" and _takes(tag)), None)
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
        text_field=_field(text) if text else "",
        hints=hints if any(hints) else (),
        record_field=_field(table) if table else "",
    )


def _field(tag: Any) -> str:
    """The task's field that a tag shows."""
    if not _takes(tag):
        raise UnsupportedConfig(
            f"<{tag.tag} name={tag.name!r}> must take its value from the task, for example ${tag.tag.lower()}, and no "
            "URL"
        )
    return str(tag.value)[1:]


def _takes(tag: Any) -> bool:
    return bool(re.fullmatch(r"\$[\w.-]+", str(tag.value or ""))) and tag.attr.get("valueType") != "url"
