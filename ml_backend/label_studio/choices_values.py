"""The answer to one <Choices>, as Label Studio stores it <-> labels of the schema.

An answer is taken for a label as long as it can mean no other one: whatever its letter case and the blanks around it,
as a number, as a path or the end of one. What cannot be understood has a code, and never means "no label applies".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from ml_backend.core.types import PARTLY, PATH, TaskSchema

Path = tuple[str, ...]


def read_answer(result: Any, schema: TaskSchema) -> tuple[tuple[str, ...], str]:
    """What the `result` of an annotation holds, and why it cannot be learnt from: see `Annotation.unread`. Of labels
    and anything else, the labels come first."""
    regions = [region for region in result if isinstance(region, dict)] if isinstance(result, list) else None
    if regions is None:
        return (), "shape"
    mine = [region for region in regions if region.get("from_name") == schema.control]
    labels: list[str] = []
    unknown: list[str] = []
    parents: list[str] = []
    is_odd = False
    for item in (item for region in mine for item in _items(region)):
        path = _path(item)
        if path is None:
            is_odd = True
        elif label := _label(path, schema):
            labels.append(label)
        else:
            (parents if path in _parents(schema) else unknown).append(PATH.join(path))
    if labels:
        return tuple(dict.fromkeys(labels + unknown)), PARTLY if unknown else ""
    if unknown or parents:
        return tuple(dict.fromkeys(unknown + parents)), "label" if unknown else "parent"
    if is_odd:
        return (), "shape"
    names = [region.get("from_name") for region in regions]
    if any(isinstance(name, str) and name not in (schema.control, *schema.other_controls) for name in names):
        return (), "control"
    return (), "" if schema.multiple and not schema.conditional else "empty"


def write_choices(labels: Iterable[str], schema: TaskSchema) -> list[str] | list[list[str]]:
    """What Label Studio stores for some labels of the schema, so that its labelling screen selects them."""
    stored = dict(zip(schema.labels, schema.stored, strict=True)) if schema.stored else {}
    paths = [stored.get(label, (label,)) for label in labels]
    return [[*path] for path in paths] if schema.nested else [path[-1] for path in paths]


def _items(region: Mapping[str, Any]) -> list[Any]:
    """What was chosen in a region; one item that is no choice if that cannot be told."""
    value = region.get("value")
    chosen = value.get("choices") if isinstance(value, dict) else None
    return chosen if isinstance(chosen, list) else [chosen]


def _path(item: Any) -> Path | None:
    """One choice as a path of texts, None if it is neither a plain value nor a list of them."""
    parts = item if isinstance(item, list) else [item]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        return None
    return tuple(str(int(part) if isinstance(part, float) and part.is_integer() else part) for part in parts)


def _label(path: Path, schema: TaskSchema) -> str:
    """The only label that a path can mean, "" if there is none or more than one."""
    # without nesting, what stands around a choice is of another configuration
    tried = (path,) if schema.nested or len(path) == 1 else (path, path[-1:])
    for exact, alike in _meanings(schema):
        for candidate in tried:
            found = exact.get(candidate) or alike.get(_folded(candidate)) or frozenset()
            if len(found) == 1:
                return next(iter(found))
    return ""


@lru_cache(maxsize=256)
def _meanings(schema: TaskSchema) -> tuple[tuple[dict[Path, frozenset[str]], dict[Path, frozenset[str]]], ...]:
    """What paths may mean, the surest reading first: as it is stored, then by the label's name or the end of its path.
    Each to the letter, and whatever the letter case and blanks."""
    stored = schema.stored or tuple((label,) for label in schema.labels)
    as_stored = [(path, label) for path, label in zip(stored, schema.labels, strict=True)]
    otherwise = [pair for path, label in as_stored for pair in (((label,), label), (path[-1:], label))]
    return tuple(
        (_grouped(pairs), _grouped([(_folded(path), label) for path, label in pairs]))
        for pairs in (as_stored, otherwise)
    )


def _grouped(pairs: Iterable[tuple[Path, str]]) -> dict[Path, frozenset[str]]:
    found: dict[Path, set[str]] = defaultdict(set)
    for path, label in pairs:
        found[path].add(label)
    return {path: frozenset(labels) for path, labels in found.items()}


def _folded(path: Path) -> Path:
    return tuple(" ".join(part.split()).casefold() for part in path)


@lru_cache(maxsize=256)
def _parents(schema: TaskSchema) -> frozenset[Path]:
    """The paths at which other labels hang."""
    return frozenset(path[:n] for path in schema.stored for n in range(1, len(path)))
