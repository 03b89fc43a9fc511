"""The description of a control tag whose labels are learnt as choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.schema import ChoicesSchema


@dataclass(frozen=True, slots=True)
class ControlTag:
    """How the element of a control is read, and how Label Studio stores the labels in a region.

    read_schema   the schema of a control: from its element in the XML, its name and the name of the tag that it labels
    region_type   `type` of a region
    value_key     the key in `value` of a region that holds the stored labels: one, or a list of them
    write         what is stored under this key for labels of the schema
    source_count  the number of object tags that one control labels together
    blank         a stored value, as text, that stands for no label; None if there is none
    """

    read_schema: Callable[[Any, str, str], ChoicesSchema]
    region_type: str
    value_key: str
    write: Callable[[Sequence[str], ChoicesSchema], Any]
    source_count: int = 1
    blank: str | None = None


def stored_paths(labels: Sequence[str], control: ChoicesSchema) -> list[tuple[str, ...]]:
    """The paths that Label Studio stores for labels of the schema."""
    path_by_label = dict(zip(control.labels, control.stored, strict=True)) if control.stored else {}
    return [path_by_label.get(label, (label,)) for label in labels]
