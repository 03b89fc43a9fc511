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
    """Finds the first `Choices` over a `Text`. Raises UnsupportedConfig saying what is missing."""
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
            return _choices_over_text(control)
        except UnsupportedConfig as problem:
            problems.append(str(problem))
    raise UnsupportedConfig(
        problems[0]
        if problems
        else "The labelling configuration has no <Choices> over a <Text>: add one, that is what can be learnt here"
    )


def _choices_over_text(control: Any) -> TaskSchema:
    name = control.name
    if control.dynamic_value:
        raise UnsupportedConfig(
            f"<Choices name={name!r}> takes its choices from the task: list them in the configuration"
        )
    texts = [tag for tag in control.objects or () if tag.tag == "Text"]
    if not texts:
        raise UnsupportedConfig(f"<Choices name={name!r}> does not point at a <Text> (toName)")
    text = texts[0]
    value = str(text.value or "")
    if {"perRegion", "perItem"} & control.attr.keys():
        raise UnsupportedConfig(f"<Choices name={name!r}> is asked for each region: only whole texts can be classified")
    if not re.fullmatch(r"\$[\w.-]+", value) or text.attr.get("valueType") == "url":
        raise UnsupportedConfig(
            f"<Text name={text.name!r}> must take its value from the task, for example $text, and no URL"
        )
    labels = tuple(dict.fromkeys(control.labels))
    multiple = control.attr.get("choice") == "multiple"
    if len(labels) < (1 if multiple else 2):
        raise UnsupportedConfig(f"<Choices name={name!r}> has too few choices to learn from")
    hints = tuple(str(control.labels_attrs[label].attr.get("hint") or "") for label in labels)
    return TaskSchema(labels, multiple, name, text.name, value[1:], hints if any(hints) else ())
