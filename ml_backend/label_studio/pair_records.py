"""Reads the two texts of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_backend.core.schema import PAIR_SIDES


def pair_record(record: Mapping[str, Any], sides: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The record of a task with its two texts under the names of the sides.

    record  all fields that annotators see
    sides   the fields of the left and of the right text
    """
    texts = {
        side: "\n".join(str(record[name]) for name in names if record.get(name) not in ("", None))
        for side, names in zip(PAIR_SIDES, sides, strict=True)
    }
    in_sides = {name for names in sides for name in names}
    context = {name: value for name, value in record.items() if name not in in_sides}
    return {f"{name} (context)" if name in PAIR_SIDES else name: value for name, value in context.items()} | texts
