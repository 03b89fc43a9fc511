"""What somebody says of the fields of a record -> what a linear head over its columns should be like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.types import Attributions, FieldScores, Floats
from plugins.encoders.value_parsing import MISSING

NARROW = 0.5
"""Width of the columns of yes and no, beside numbers."""
BETWEEN = 2.0 ** (1 / 3)
"""Of a category, the step between two values is what was scored, and not how far each is from the mean."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a record's vector: of a number, of a `value` of its field, of the value's being MISSING, or of a
    text."""

    field: str
    is_number: bool = False
    value: str = ""
    is_text: bool = False


def attributions(
    columns: Sequence[Column], lower: Mapping[str, str], estimates: Sequence[Mapping[str, FieldScores]],
    labels: Sequence[str],
) -> Attributions:  # fmt: skip
    """A score is of a field that is a number, or has two values, or of a value of a category; of fields and values that
    do not exist, it is passed over, whatever is written large or small. `lower`: of the fields with two values, the
    other one; if both have a score, half of the difference counts."""
    scores = np.zeros((len(labels), max(len(estimates), 1), len(columns)), np.float32)
    for k, estimate in enumerate(estimates):
        for c, label in enumerate(labels):
            scores[c, k] = _scored(columns, lower, estimate.get(label, {}))
    of_fields = [bool(column.field) for column in columns]
    wide = [column.is_number or column.is_text for column in columns]
    return Attributions(scores, np.where(of_fields, np.where(wide, 1.0, NARROW), 0.0).astype(np.float32))


def _scored(columns: Sequence[Column], lower: Mapping[str, str], said: FieldScores) -> Floats:
    out = np.zeros(len(columns), np.float32)
    told = {name.lower(): score for name, score in said.items()}
    for place, column in enumerate(columns):
        score = told.get(column.field.lower(), 0.0)
        by_value = {value.lower(): each for value, each in score.items()} if isinstance(score, Mapping) else {}
        whole = 0.0 if isinstance(score, Mapping) else score
        own = by_value.get(column.value.lower(), 0.0)
        if column.is_number:
            out[place] = whole
        elif column.value == MISSING:
            out[place] = own
        elif column.field in lower:
            other = by_value.get(lower[column.field].lower())
            out[place] = whole or (own if other is None else (own - other) / 2)
        else:
            out[place] = own / BETWEEN
    return out
