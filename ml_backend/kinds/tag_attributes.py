"""Attributes that any control tag of a labelling configuration may have. A tag is an element of the parsed XML."""

from __future__ import annotations

from typing import Any, get_args

from ml_backend.core.schema import ShowCondition, ShowWhen


def attribute(element: Any, name: str, default: str = "") -> str:
    """The value of an attribute of a tag. Label Studio ignores the letter case of attribute names."""
    return next((str(value) for key, value in element.attrib.items() if key.lower() == name.lower()), default)


def is_set(element: Any, name: str) -> bool:
    """Whether an attribute of a tag is "true"."""
    return attribute(element, name).strip().lower() == "true"


def whole_number(element: Any, name: str) -> int:
    """The value of an attribute of a tag that is a whole number, 0 for any other value."""
    value = attribute(element, name).strip()
    return int(value[:9]) if value.isascii() and value.isdigit() else 0


def is_required(element: Any) -> bool:
    """Whether Label Studio refuses an annotation without a value of the control."""
    return is_set(element, "required")


def is_conditional(element: Any) -> bool:
    """Whether annotators see a control only under a condition."""
    return bool(show_conditions(element))


def show_conditions(element: Any) -> tuple[ShowCondition, ...]:
    """The conditions under which annotators see a control: those of its own tag and of the tags that contain it."""
    return tuple(
        ShowCondition(
            when,
            attribute(tag, "whenTagName"),
            tuple(choices.split(",")) if (choices := attribute(tag, "whenChoiceValue")) else (),
        )
        for tag in (element, *element.iterancestors())
        for when in get_args(ShowWhen)
        if attribute(tag, "visibleWhen") == when
    )


def is_per_region(element: Any) -> bool:
    """Whether annotators use a control once for each region, or for each item of a list, or label regions with it."""
    return any(attribute(element, name, "false").lower() != "false" for name in ("perRegion", "perItem", "labeling"))


def is_dynamic(element: Any) -> bool:
    """Whether the labels of a control come from the task or from a server."""
    return attribute(element, "value").startswith("$") or bool(attribute(element, "apiUrl"))
