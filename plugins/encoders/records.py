"""Records as vectors: each field standardised over the unlabelled pool, each column of known field and value.

A number is one column, a category a column for each value, and so is that a value is missing. The vectors have unit
length, as all encoders' have: the columns are divided by the pool's radius, and one more holds what is left to 1.
So distances are those of the standardised columns, and a linear head over them is one over the fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from ml_backend.domain import ApprenticeError, Floats
from plugins.encoders.fields import (
    BOOLEAN,
    CATEGORICAL,
    MISSING,
    OTHER,
    Doubles,
    Field,
    as_json,
    fitted,
    from_json,
    is_missing,
    named,
    numbers,
    standardised,
)

RADIUS = 99.0
"""Percentile of the pool's lengths that becomes 1: records further out are drawn in."""
STEP = 2.0  # from no to yes: as from one standard deviation below the mean to one above
ROOT = 2.0**0.5  # of a category's column: two values are as far apart as yes and no


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a record's vector: of a number, of a `value` of its field, or of the value's being MISSING."""

    field: str
    is_number: bool
    value: str = ""


def profile(records: Sequence[Mapping[str, Any]], wanted: Mapping[str, object]) -> str:
    """What `Records` is made with, as JSON, from a pool's records; `wanted` has the kinds, or the orders of values, of
    fields that are not what they seem. Raises ApprenticeError for a kind that does not exist, or if no field is of use.
    """
    names = dict.fromkeys(name for record in records for name in record)
    fields = [fitted(name, [record.get(name) for record in records], wanted.get(name)) for name in names]
    made = Records(json.dumps({"fields": as_json(fields), "radius": 1.0}))
    if not made.columns:
        raise ApprenticeError("The records have no field that tells them apart")
    lengths = np.linalg.norm(made.standardised(records), axis=1)
    return json.dumps({"fields": as_json(fields), "radius": max(float(np.percentile(lengths, RADIUS)), 1e-6)})


class Records:
    """Made with what `profile` gave. Texts are records as JSON objects; what is none is a record without values."""

    def __init__(self, model: str) -> None:
        kept = json.loads(model)
        self.fields: tuple[Field, ...] = from_json(kept["fields"])
        self.radius = float(kept["radius"])  # of the columns, as their length in the vectors becomes 1
        self.columns = tuple(column for field in self.fields for column in _columns(field))
        self._name = f"records-{blake2b(model.encode(), digest_size=8).hexdigest()}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def dim(self) -> int:
        return len(self.columns) + 1

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32 of unit length."""
        x = self.standardised([read(text) for text in texts]) / self.radius
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x /= np.maximum(length, 1.0)
        rest = np.sqrt(np.maximum(1 - np.minimum(length, 1.0) ** 2, 0.0))
        return np.hstack([x, rest]).astype(np.float32)

    def sketch(self, texts: Sequence[str]) -> Floats:
        """The same: nothing is quicker."""
        return self.encode(texts)

    def __hash__(self) -> int:
        return id(self)

    def verify(self) -> str:
        return f"{len(self.fields)} fields of records in {len(self.columns)} columns"

    def standardised(self, records: Sequence[Mapping[str, Any]]) -> Doubles:
        """(n, columns) as they are before they get unit length."""
        parts = [_encoded(field, [record.get(field.name) for record in records]) for field in self.fields]
        return np.hstack([np.empty((len(records), 0)), *parts])


def read(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _columns(field: Field) -> list[Column]:
    absent = [Column(field.name, False, MISSING)] if field.missing else []
    if field.is_number:
        return [Column(field.name, True), *absent]
    if field.kind == BOOLEAN:
        return [Column(field.name, False, field.values[1]), *absent]
    return [Column(field.name, False, value) for value in field.values] if field.kind == CATEGORICAL else []


def _encoded(field: Field, values: Sequence[object]) -> Doubles:
    """(n, columns of the field)."""
    absent = np.array([is_missing(value) for value in values], np.float64)
    indicator = [STEP * (absent - field.missing)] if field.missing else []
    if field.is_number:
        return np.column_stack([standardised(field, numbers(field, values)), *indicator])
    if field.kind == BOOLEAN:
        (share,) = field.shares
        said = {field.values[0]: 0.0, field.values[1]: 1.0}
        return np.column_stack([STEP * (np.array([said.get(named(v), share) for v in values]) - share), *indicator])
    if field.kind != CATEGORICAL:
        return np.empty((len(values), 0))
    shares, column = np.array(field.shares), {value: place for place, value in enumerate(field.values)}
    rest = column.get(OTHER)
    out = np.zeros((len(values), len(shares)))  # of a value that the pool has not: as the pool is on average
    for row, value in enumerate(values):
        place = column.get(named(value), rest)
        if place is not None:
            out[row] = -shares
            out[row, place] += 1
    return ROOT * out
