"""<Choices>: its choices with their stored values.

Observed in the labelling screen of Label Studio 1.23: with `allowNested`, it stores every choice as the path from the
top, and selects a choice only by its whole path. A choice that holds others is selected when all of these are, so that
only the leaves can be labels. Without `allowNested`, it shows only the choices of the uppermost level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_backend.core.schema import ChoicesSchema
from ml_backend.kinds.choices.tags.choice_tree import hints_of, read_choices
from ml_backend.kinds.choices.tags.control_tag import ControlTag, stored_paths
from ml_backend.kinds.tag_attributes import attribute, is_conditional, is_required, is_set


def read_schema(element: Any, name: str, source: str) -> ChoicesSchema:
    nested = is_set(element, "allowNested")
    choices = [choice for choice in read_choices(element, nested=nested) if not choice.is_parent]
    stored_by_name = not nested and all(choice.path == (choice.name,) for choice in choices)
    return ChoicesSchema(
        name=name,
        source=source,
        labels=tuple(choice.name for choice in choices),
        multiple=attribute(element, "choice") == "multiple",
        hints=hints_of(choices),
        stored=() if stored_by_name else tuple(choice.path for choice in choices),
        nested=nested,
        conditional=is_conditional(element) or is_required(element),
    )


def write(labels: Sequence[str], control: ChoicesSchema) -> list[str] | list[list[str]]:
    """The choices that the labelling screen selects for labels of the schema."""
    paths = stored_paths(labels, control)
    return [[*path] for path in paths] if control.nested else [path[-1] for path in paths]


TAG = ControlTag(read_schema, "choices", "choices", write)
