"""Reads Label Studio's labelling configuration (XML) into a ProjectSchema."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.schema import ControlSchema, InputSpec, ProjectSchema
from ml_backend.label_studio.controls import (
    attribute,
    is_conditional,
    is_nested,
    is_required,
    learning_order_key,
    read_choices,
)

OBJECT_TAGS = ("Text", "HyperText", "Table")
"""The object tags whose content can be classified."""


@lru_cache(maxsize=256)
def read_schema(label_config: str, choices: str = "") -> ProjectSchema:
    """The schema of the <Choices> that is learnt: the one named `choices` or, if that is "", the one that comes first
    by `controls.learning_order_key`. A <Choices> can be learnt if it points at a <Text>, a <HyperText> or a <Table>.

    Raises UnsupportedConfigError, whose message says what is missing.
    """
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        interface = LabelInterface(label_config)
        controls = list(interface.controls)
        *_, tree = interface.parse(label_config)
    except Exception as error:  # the SDK passes on the errors of lxml, of its validation and of missing attributes
        raise UnsupportedConfigError(
            "The labelling configuration cannot be read: it is not valid XML of Label Studio"
        ) from error
    problems, candidates = [], []
    for control in controls:
        if control.tag != "Choices" or choices not in ("", control.name):
            continue
        try:
            element = next(tag for tag in tree.iter("Choices") if tag.get("name") == control.name)
            others = [other for other in controls if other != control]
            schema = _choices_schema(control, element, list(interface.objects), others)
            candidates.append((learning_order_key(element, len(schema.control.labels)), schema))
        except UnsupportedConfigError as problem:
            problems.append(str(problem))
    if candidates:
        return min(candidates, key=lambda pair: pair[0])[1]
    if choices and not problems:
        names = ", ".join(repr(control.name) for control in controls if control.tag == "Choices")
        raise UnsupportedConfigError(
            f"The labelling configuration has no <Choices name={choices!r}>, which the setting `choices` names: "
            f"there is {names or 'none'}"
        )
    raise UnsupportedConfigError(
        problems[0]
        if problems
        else "The labelling configuration has no <Choices> over a <Text>, a <HyperText> or a <Table>: add one, because "
        "nothing else can be learnt"
    )


def _choices_schema(control: Any, element: Any, objects: list[Any], others: list[Any]) -> ProjectSchema:
    """The schema of one <Choices>. A task is a record if the object tags have a Table, or several fields in Texts and
    HyperTexts. Raises UnsupportedConfigError.

    control  the SDK's object for the <Choices>; `element`: its element in the XML
    objects  all object tags; those that only other controls point at are ignored
    others   all other controls
    """
    name = control.name
    if control.dynamic_value:
        raise UnsupportedConfigError(
            f"<Choices name={name!r}> takes its choices from the task: list them in the configuration"
        )
    source = next((tag for tag in control.objects or () if tag.tag in OBJECT_TAGS), None)
    if source is None:
        raise UnsupportedConfigError(
            f"<Choices name={name!r}> does not point at a <Text>, a <HyperText> or a <Table> (toName)"
        )
    if any(attribute(element, per, "false").lower() != "false" for per in ("perRegion", "perItem")):
        raise UnsupportedConfigError(
            f"<Choices name={name!r}> is asked for each region: only whole texts can be classified"
        )
    if not _fields(source):
        raise UnsupportedConfigError(
            f"<{source.tag} name={source.name!r}> must take its value from the task, for example "
            f"${source.tag.lower()}, and the value must not be a URL"
        )
    foreign = {object_name for other in others for object_name in other.to_name or ()} - {*control.to_name}
    tags = [source, *(tag for tag in objects if tag.tag in OBJECT_TAGS and tag.name not in foreign)]
    table = next((field for tag in tags if tag.tag == "Table" for field in _fields(tag)), "")
    fields = tuple(dict.fromkeys(field for tag in tags if tag.tag != "Table" for field in _fields(tag)))
    html = {field for tag in tags if tag.tag == "HyperText" for field in _fields(tag)}
    is_text = not table and len(fields) == 1
    choices, nested = read_choices(element), is_nested(element)
    multiple = attribute(element, "choice") == "multiple"
    if len(choices) < (1 if multiple else 2):
        raise UnsupportedConfigError(f"<Choices name={name!r}> has too few choices to learn from")
    stored_by_name = not nested and all(choice.path == (choice.name,) for choice in choices)
    return ProjectSchema(
        InputSpec(
            text_field=fields[0] if is_text else "",
            record_field=table,
            fields=() if is_text else fields,
            html=tuple(field for field in fields if field in html),
        ),
        ControlSchema(
            name=name,
            source=source.name,
            labels=tuple(choice.name for choice in choices),
            multiple=multiple,
            hints=tuple(choice.hint for choice in choices) if any(choice.hint for choice in choices) else (),
            stored=() if stored_by_name else tuple(choice.path for choice in choices),
            nested=nested,
            conditional=is_conditional(element) or is_required(element),
        ),
        other_controls=tuple(dict.fromkeys(other.name for other in others)),
    )


def _fields(tag: Any) -> list[str]:
    """The fields of the task's data that the value of a tag names, as in "$age" or "Age: $age, job: $person.job". There
    are none if the value is a URL or names an item of a list, as in "$items[0]"."""
    value = str(tag.value or "") if tag.attr.get("valueType") != "url" else ""
    if re.search(r"\$[\w.]+\[", value):
        return []
    if whole := re.fullmatch(r"\$([\w.-]+)", value):
        return [whole[1]]
    return re.findall(r"\$([^\W\d]\w*(?:\.\w+)*)", value) if tag.tag != "Table" else []
