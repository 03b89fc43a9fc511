"""The <Choice> tags of a control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ml_backend.core.types import LABEL_PATH_SEPARATOR


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice.

    name       the text that annotators read; for a nested choice, preceded by the names of its parents
    path       the stored values of its parents and its own
    hint       the text of the attribute `hint`, "" if there is none
    is_parent  whether it holds other choices
    """

    name: str
    path: tuple[str, ...]
    hint: str
    is_parent: bool


def read_choices(element: Any, *, nested: bool) -> list[Choice]:
    """The choices of a control without duplicates, in their order, so that each comes after its parent. Without
    `nested`, these are the choices of the uppermost level. Choices with the same name and different stored values get
    different names."""
    choice_by_path: dict[tuple[str, ...], Choice] = {}
    for choice in _choices_in(element, nested, (), ()):
        choice_by_path.setdefault(choice.path, choice)
    counts = Counter(choice.name for choice in choice_by_path.values())
    names = {name for name, count in counts.items() if count == 1}
    choices = []
    for path, choice in choice_by_path.items():
        name = choice.name
        if counts[name] > 1:
            while name in names or name == choice.name:
                name = f"{name} ({LABEL_PATH_SEPARATOR.join(path)})"
            names.add(name)
        choices.append(Choice(name, path, choice.hint, choice.is_parent))
    return choices


def hints_of(choices: list[Choice]) -> tuple[str, ...]:
    """The hint of each choice, () if none has one."""
    return tuple(choice.hint for choice in choices) if any(choice.hint for choice in choices) else ()


def _choices_in(tag: Any, nested: bool, names: tuple[str, ...], path: tuple[str, ...]) -> Iterator[Choice]:
    for child in tag:
        if child.tag != "Choice":
            yield from _choices_in(child, nested, names, path)
            continue
        stored = child.get("alias") or child.get("value")
        if not stored:
            continue
        child_names, child_path = (*names, child.get("value") or stored), (*path, stored)
        is_parent = nested and child.find(".//Choice") is not None
        yield Choice(LABEL_PATH_SEPARATOR.join(child_names), child_path, child.get("hint") or "", is_parent)
        if is_parent:
            yield from _choices_in(child, nested, child_names, child_path)
