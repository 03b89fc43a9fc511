"""The <Choices> of a labelling configuration: which one is learnt, and what its choices are called and stored as.

Read in the labelling screen of Label Studio 1.23: with `allowNested` it stores every choice as the path from the top,
and selects none by less; a choice that holds others is selected when all of these are, so that only the leaves are
answers. Without `allowNested` it shows the uppermost choices alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ml_backend.core.types import PATH

CONDITIONS = ("choice-selected", "choice-unselected", "region-selected")
"""Values of `visibleWhen` under which a control may stay hidden."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: the name that annotators read (of a nested one with those around it), what is stored for it and for
    those around it, and its hint."""

    name: str
    path: tuple[str, ...]
    hint: str


def attribute(element: Any, name: str, default: str = "") -> str:
    """An attribute of a tag, whose name Label Studio reads in any letter case."""
    return next((str(value) for key, value in element.attrib.items() if key.lower() == name.lower()), default)


def is_nested(choices: Any) -> bool:
    """Whether the answers to a <Choices> are paths."""
    return attribute(choices, "allowNested").strip().lower() == "true"


def is_required(choices: Any) -> bool:
    """Whether Label Studio takes no answer in which nothing is chosen."""
    return attribute(choices, "required").lower() == "true"


def is_conditional(choices: Any) -> bool:
    """Whether the annotator sees a <Choices> only under a condition, of its own or of a tag around it."""
    return any(attribute(tag, "visibleWhen") in CONDITIONS for tag in (choices, *choices.iterancestors()))


def read_choices(choices: Any) -> list[Choice]:
    """What can be chosen, in order, each once. Names are made different where Label Studio stores different values."""
    found: dict[tuple[str, ...], Choice] = {}
    for choice in _leaves(choices, is_nested(choices), (), ()):
        found.setdefault(choice.path, choice)
    names = [choice.name for choice in found.values()]
    return [
        choice if names.count(choice.name) == 1 else Choice(f"{choice.name} ({PATH.join(path)})", path, choice.hint)
        for path, choice in found.items()
    ]


def preference(choices: Any, labels: int) -> tuple[bool, bool, bool, int]:
    """Sorts the <Choices> of a configuration, the one to be learnt first: always visible, required, a single choice,
    and that among the most labels. An optional flag comes last."""
    return is_conditional(choices), not is_required(choices), attribute(choices, "choice") == "multiple", -labels


def _leaves(tag: Any, nested: bool, names: tuple[str, ...], path: tuple[str, ...]) -> Iterator[Choice]:
    for child in tag:
        if child.tag != "Choice":
            yield from _leaves(child, nested, names, path)
            continue
        stored = child.get("alias") or child.get("value")
        if not stored:
            continue
        its_names, its_path = (*names, child.get("value") or stored), (*path, stored)
        if nested and child.find(".//Choice") is not None:
            yield from _leaves(child, nested, its_names, its_path)
        else:
            yield Choice(PATH.join(its_names), its_path, child.get("hint") or "")
