"""Label Studio's labelling configuration (XML) -> TaskSchema."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.controls import attribute, is_conditional, is_nested, is_required, learning_order_key, read_choices

SHOWN = ("Text", "HyperText", "Table")
"""Tags that show what can be asked about."""


@lru_cache(maxsize=256)
def read_schema(label_config: str, choices: str = "") -> TaskSchema:
    """The `Choices` over a `Text`, a `HyperText` or a `Table` that is learnt: the one named `choices`, or, with no
    name, the one that `controls.learning_order_key` puts first. Raises UnsupportedConfigError saying what is missing."""
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        interface = LabelInterface(label_config)
        controls = list(interface.controls)
        *_, tree = interface.parse(label_config)
    except Exception as error:  # the SDK raises whatever lxml, its own validation or a missing attribute raise
        raise UnsupportedConfigError(
            "The labelling configuration cannot be read: it is not valid XML of Label Studio"
        ) from error
    problems, found = [], []
    for control in controls:
        if control.tag != "Choices" or choices not in ("", control.name):
            continue
        try:
            element = next(tag for tag in tree.iter("Choices") if tag.get("name") == control.name)
            schema = _choices(control, element, list(interface.objects), [each for each in controls if each != control])
            found.append((learning_order_key(element, len(schema.labels)), schema))
        except UnsupportedConfigError as problem:
            problems.append(str(problem))
    if found:
        return min(found, key=lambda pair: pair[0])[1]
    if choices and not problems:
        names = ", ".join(repr(control.name) for control in controls if control.tag == "Choices")
        raise UnsupportedConfigError(
            f"The labelling configuration has no <Choices name={choices!r}>, which the setting `choices` asks for: "
            f"there is {names or 'none'}"
        )
    raise UnsupportedConfigError(
        problems[0]
        if problems
        else "The labelling configuration has no <Choices> over a <Text>, a <HyperText> or a <Table>: add one, that is "
        "what can be learnt here"
    )


def _choices(control: Any, element: Any, objects: list[Any], others: list[Any]) -> TaskSchema:
    """The schema of one <Choices>, from the SDK's view of it and its `element`. With a Table in the configuration, or
    several fields in its Texts and HyperTexts, a task is a record; a tag that only `others` point at is none of its."""
    name = control.name
    if control.dynamic_value:
        raise UnsupportedConfigError(
            f"<Choices name={name!r}> takes its choices from the task: list them in the configuration"
        )
    about = next((tag for tag in control.objects or () if tag.tag in SHOWN), None)
    if about is None:
        raise UnsupportedConfigError(
            f"<Choices name={name!r}> does not point at a <Text>, a <HyperText> or a <Table> (toName)"
        )
    if any(attribute(element, per, "false").lower() != "false" for per in ("perRegion", "perItem")):
        raise UnsupportedConfigError(
            f"<Choices name={name!r}> is asked for each region: only whole texts can be classified"
        )
    if not _fields(about):
        raise UnsupportedConfigError(
            f"<{about.tag} name={about.name!r}> must take its value from the task, for example ${about.tag.lower()}, "
            "and no URL"
        )
    foreign = {source for other in others for source in other.to_name or ()} - {*control.to_name}
    shown = [about, *(tag for tag in objects if tag.tag in SHOWN and tag.name not in foreign)]
    table = next((field for tag in shown if tag.tag == "Table" for field in _fields(tag)), "")
    fields = tuple(dict.fromkeys(field for tag in shown if tag.tag != "Table" for field in _fields(tag)))
    html = {field for tag in shown if tag.tag == "HyperText" for field in _fields(tag)}
    is_text = not table and len(fields) == 1
    choices, nested = read_choices(element), is_nested(element)
    multiple = attribute(element, "choice") == "multiple"
    if len(choices) < (1 if multiple else 2):
        raise UnsupportedConfigError(f"<Choices name={name!r}> has too few choices to learn from")
    by_name = not nested and all(choice.path == (choice.name,) for choice in choices)
    return TaskSchema(
        tuple(choice.name for choice in choices),
        multiple,
        control=name,
        source=about.name,
        text_field=fields[0] if is_text else "",
        hints=tuple(choice.hint for choice in choices) if any(choice.hint for choice in choices) else (),
        record_field=table,
        fields=() if is_text else fields,
        html=tuple(field for field in fields if field in html),
        stored=() if by_name else tuple(choice.path for choice in choices),
        nested=nested,
        conditional=is_conditional(element) or is_required(element),
        other_controls=tuple(dict.fromkeys(other.name for other in others)),
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
