"""<Choices>: its choices with their stored values.

Observed in the labelling screen of Label Studio 1.23: with `allowNested`, it stores every choice as the path from the
top, and selects a choice only by its whole path. A choice that holds others is selected when all of these are, so that
only the leaves can be labels. Without `allowNested`, it shows only the choices of the uppermost level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import LABEL_PATH_SEPARATOR
from ml_backend.kinds.choices.tags.control_tag import ControlTag, stored_paths
from ml_backend.kinds.tag_attributes import attribute, is_conditional, is_required, is_set


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


def read_schema(element: Any, name: str, source: str) -> ControlSchema:
    nested = is_set(element, "allowNested")
    choices = read_choices(element, nested=nested)
    stored_by_name = not nested and all(choice.path == (choice.name,) for choice in choices)
    return ControlSchema(
        name=name,
        source=source,
        labels=tuple(choice.name for choice in choices),
        multiple=attribute(element, "choice") == "multiple",
        hints=tuple(choice.hint for choice in choices) if any(choice.hint for choice in choices) else (),
        stored=() if stored_by_name else tuple(choice.path for choice in choices),
        nested=nested,
        conditional=is_conditional(element) or is_required(element),
    )


def read_choices(element: Any, *, nested: bool) -> list[Choice]:
    """The choices of a control in their order, without duplicates. Choices with the same name and different stored
    values get different names."""
    choice_by_path: dict[tuple[str, ...], Choice] = {}
    for choice in _leaves(element, nested, (), ()):
        choice_by_path.setdefault(choice.path, choice)
    names = [choice.name for choice in choice_by_path.values()]
    return [
        choice
        if names.count(choice.name) == 1
        else Choice(f"{choice.name} ({LABEL_PATH_SEPARATOR.join(path)})", path, choice.hint)
        for path, choice in choice_by_path.items()
    ]


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


def write(labels: Sequence[str], control: ControlSchema) -> list[str] | list[list[str]]:
    """The choices that the labelling screen selects for labels of the schema."""
    paths = stored_paths(labels, control)
    return [[*path] for path in paths] if control.nested else [path[-1] for path in paths]


TAG = ControlTag(read_schema, "choices", "choices", write)
