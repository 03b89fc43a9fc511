"""Converts between the regions of a control, as Label Studio stores them, and the labels of the schema.

A stored choice is read as a label if that is the only label that it can mean. Letter case and surrounding blanks are
ignored; numbers, paths and, except for a Taxonomy, the ends of paths are accepted. A result that cannot be read gets a
code and never means "no label applies".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import LABEL_PATH_SEPARATOR, PARTLY_READABLE, Label
from ml_backend.kinds.choices.hierarchy import with_ancestors
from ml_backend.kinds.choices.tags import CONTROL_TAGS

ChoicePath = tuple[str, ...]


def read_label(regions: Sequence[Mapping[str, Any]], control: ChoicesSchema) -> Label:
    """The label in the regions of a control, with the ancestors of its labels. If the regions have unknown choices
    beside labels, the labels come first."""
    labels: list[str] = []
    unknown: list[str] = []
    parents: list[str] = []
    has_malformed = False
    for choice in (choice for region in regions for choice in _stored_choices(region, control)):
        path = _as_path(choice)
        if path is None:
            has_malformed = True
        elif path == (CONTROL_TAGS[control.tag].blank,):
            continue
        elif label := _label_of(path, control):
            labels += with_ancestors([label], control)
        else:
            (parents if path in _parent_paths(control) else unknown).append(LABEL_PATH_SEPARATOR.join(path))
    if labels:
        return Label(tuple(dict.fromkeys(labels + unknown)), PARTLY_READABLE if unknown else "")
    if unknown or parents:
        return Label(tuple(dict.fromkeys(unknown + parents)), "label" if unknown else "parent")
    if has_malformed:
        return Label((), "shape")
    return Label((), "" if control.multiple and not control.conditional else "empty")


def write_region_value(labels: Sequence[str], control: ChoicesSchema) -> dict[str, Any]:
    """The `type` and the `value` of a region with labels of the schema, as the labelling screen stores them."""
    tag = CONTROL_TAGS[control.tag]
    return {"type": tag.region_type, "value": {tag.value_key: tag.write(labels, control)}}


def _stored_choices(region: Mapping[str, Any], control: ChoicesSchema) -> list[Any]:
    """The choices of a region; a malformed value is returned as the only item."""
    value = region.get("value")
    choices = value.get(CONTROL_TAGS[control.tag].value_key) if isinstance(value, dict) else None
    return choices if isinstance(choices, list) else [choices]


def _as_path(choice: Any) -> ChoicePath | None:
    """A stored choice as a path of texts, None if it is neither a plain value nor a list of plain values."""
    parts = choice if isinstance(choice, list) else [choice]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        return None
    return tuple(str(int(part) if isinstance(part, float) and part.is_integer() else part) for part in parts)


def _label_of(path: ChoicePath, control: ChoicesSchema) -> str:
    """The only label that a path can mean, "" if there is none or more than one."""
    # without nesting, the parents in a path come from another configuration
    candidates = (path,) if control.nested or _stores_whole_paths(control) or len(path) == 1 else (path, path[-1:])
    for exact, normalised in _labels_by_path(control):
        for candidate in candidates:
            labels = exact.get(candidate) or normalised.get(_normalised(candidate)) or frozenset()
            if len(labels) == 1:
                return next(iter(labels))
    return ""


@lru_cache(maxsize=256)
def _labels_by_path(
    control: ChoicesSchema,
) -> tuple[tuple[dict[ChoicePath, frozenset[str]], dict[ChoicePath, frozenset[str]]], ...]:
    """The labels that a path can mean, as pairs of an exact and a normalised look-up table. The first pair has the
    stored paths; the second, which is less certain, has the labels' names and, unless whole paths are stored, the ends
    of the paths."""
    stored = control.stored or tuple((label,) for label in control.labels)
    by_stored_path = list(zip(stored, control.labels, strict=True))
    by_name_or_end: list[tuple[ChoicePath, str]] = [((label,), label) for label in control.labels]
    if not _stores_whole_paths(control):
        by_name_or_end += [(path[-1:], label) for path, label in by_stored_path]
    return tuple(
        (_group_labels(pairs), _group_labels([(_normalised(path), label) for path, label in pairs]))
        for pairs in (by_stored_path, by_name_or_end)
    )


def _stores_whole_paths(control: ChoicesSchema) -> bool:
    """Whether another path with the same end is another choice: a Taxonomy always stores the path from the root."""
    return control.tag == "Taxonomy"


def _group_labels(pairs: Iterable[tuple[ChoicePath, str]]) -> dict[ChoicePath, frozenset[str]]:
    labels_by_path: dict[ChoicePath, set[str]] = defaultdict(set)
    for path, label in pairs:
        labels_by_path[path].add(label)
    return {path: frozenset(labels) for path, labels in labels_by_path.items()}


def _normalised(path: ChoicePath) -> ChoicePath:
    return tuple(" ".join(part.split()).casefold() for part in path)


@lru_cache(maxsize=256)
def _parent_paths(control: ChoicesSchema) -> frozenset[ChoicePath]:
    """The paths of the choices that hold other choices."""
    return frozenset(path[:n] for path in control.stored for n in range(1, len(path)))
