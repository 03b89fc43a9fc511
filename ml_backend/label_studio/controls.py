"""Reads the <Choices> of a labelling configuration: which one is learnt, and its choices with their stored values.

Observed in the labelling screen of Label Studio 1.23: with `allowNested`, it stores every choice as the path from the
top, and selects a choice only by its whole path. A choice that holds others is selected when all of these are, so that
only the leaves can be labels. Without `allowNested`, it shows only the choices of the uppermost level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ml_backend.core.types import LABEL_PATH_SEPARATOR

HIDING_CONDITIONS = ("choice-selected", "choice-unselected", "region-selected")
"""Values of `visibleWhen` under which a control may stay hidden."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice.

    name  the text that annotators read; for a nested choice, preceded by the names of its parents
    path  the stored values of its parents and its own
    hint  the text of the attribute `hint`, "" if there is none
    """

    name: str
    path: tuple[str, ...]
    hint: str


def attribute(element: Any, name: str, default: str = "") -> str:
    """The value of an attribute of a tag. Label Studio ignores the letter case of attribute names."""
    return next((str(value) for key, value in element.attrib.items() if key.lower() == name.lower()), default)


def is_nested(choices: Any) -> bool:
    """Whether Label Studio stores the choices of a <Choices> as paths."""
    return attribute(choices, "allowNested").strip().lower() == "true"


def is_required(choices: Any) -> bool:
    """Whether Label Studio refuses an annotation without a choice."""
    return attribute(choices, "required").lower() == "true"


def is_conditional(choices: Any) -> bool:
    """Whether annotators see a <Choices> only under a condition, set by its own tag or by a tag that contains it."""
    return any(attribute(tag, "visibleWhen") in HIDING_CONDITIONS for tag in (choices, *choices.iterancestors()))


def read_choices(choices: Any) -> list[Choice]:
    """The choices of a <Choices> in their order, without duplicates. Choices with the same name and different stored
    values get different names."""
    choice_by_path: dict[tuple[str, ...], Choice] = {}
    for choice in _leaves(choices, is_nested(choices), (), ()):
        choice_by_path.setdefault(choice.path, choice)
    names = [choice.name for choice in choice_by_path.values()]
    return [
        choice
        if names.count(choice.name) == 1
        else Choice(f"{choice.name} ({LABEL_PATH_SEPARATOR.join(path)})", path, choice.hint)
        for path, choice in choice_by_path.items()
    ]


def learning_order_key(choices: Any, label_count: int) -> tuple[bool, bool, bool, int]:
    """The key that sorts the <Choices> of a configuration; the first one is learnt. A <Choices> that is always visible
    comes first, then one that is required, then one with a single choice, then the one with the most labels."""
    return is_conditional(choices), not is_required(choices), attribute(choices, "choice") == "multiple", -label_count


def _leaves(tag: Any, nested: bool, names: tuple[str, ...], path: tuple[str, ...]) -> Iterator[Choice]:
    for child in tag:
        if child.tag != "Choice":
            yield from _leaves(child, nested, names, path)
            continue
        stored = child.get("alias") or child.get("value")
        if not stored:
            continue
        child_names, child_path = (*names, child.get("value") or stored), (*path, stored)
        if nested and child.find(".//Choice") is not None:
            yield from _leaves(child, nested, child_names, child_path)
        else:
            yield Choice(LABEL_PATH_SEPARATOR.join(child_names), child_path, child.get("hint") or "")
