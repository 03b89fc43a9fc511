"""Attributes that any control tag of a labelling configuration may have. A tag is an element of the parsed XML."""

from __future__ import annotations

from typing import Any

HIDING_CONDITIONS = ("choice-selected", "choice-unselected", "region-selected")
"""Values of `visibleWhen` under which a control may stay hidden."""


def attribute(element: Any, name: str, default: str = "") -> str:
    """The value of an attribute of a tag. Label Studio ignores the letter case of attribute names."""
    return next((str(value) for key, value in element.attrib.items() if key.lower() == name.lower()), default)


def is_set(element: Any, name: str) -> bool:
    """Whether an attribute of a tag is "true"."""
    return attribute(element, name).strip().lower() == "true"


def is_required(element: Any) -> bool:
    """Whether Label Studio refuses an annotation without a value of the control."""
    return is_set(element, "required")


def is_conditional(element: Any) -> bool:
    """Whether annotators see a control only under a condition, set by its own tag or by a tag that contains it."""
    return any(attribute(tag, "visibleWhen") in HIDING_CONDITIONS for tag in (element, *element.iterancestors()))


def is_per_region(element: Any) -> bool:
    """Whether annotators use a control once for each region, or for each item of a list, or label regions with it."""
    return any(attribute(element, name, "false").lower() != "false" for name in ("perRegion", "perItem", "labeling"))


def is_dynamic(element: Any) -> bool:
    """Whether the labels of a control come from the task or from a server."""
    return attribute(element, "value").startswith("$") or bool(attribute(element, "apiUrl"))
