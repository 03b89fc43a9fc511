"""Turns the teacher's scores of the fields of a record into scores and prior scales of the columns of a linear head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Attributions, FieldScores, Floats
from plugins.encoders.value_parsing import MISSING

BOOLEAN_PRIOR_SCALE = 0.5
"""Prior scale of the columns of booleans and of a category's values, relative to numbers."""
CATEGORY_STEP = 2.0 ** (1 / 3)
"""Divisor of the scores of a category's values: a teacher scores the step between two values, not the distance of each
from the mean."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a record's vector: a number, a `value` of its field, the indicator that the value is MISSING, or a
    text."""

    field: str
    is_number: bool = False
    value: str = ""
    is_text: bool = False


def attributions(
    columns: Sequence[Column], lower: Mapping[str, str], estimates: Sequence[Mapping[str, FieldScores]],
    labels: Sequence[str],
) -> Attributions:  # fmt: skip
    """Returns the scores and prior scales of the columns. A score applies to a numeric field, to a boolean field, or to
    a value of a categorical field; scores of unknown fields and values are ignored, and case does not matter. `lower`:
    the lower value of each boolean field; if both values have a score, half of the difference counts."""
    scores = np.zeros((len(labels), max(len(estimates), 1), len(columns)), np.float32)
    for k, estimate in enumerate(estimates):
        for c, label in enumerate(labels):
            scores[c, k] = _column_scores(columns, lower, estimate.get(label, {}))
    has_field = [bool(column.field) for column in columns]
    is_wide = [column.is_number or column.is_text for column in columns]
    return Attributions(
        scores, np.where(has_field, np.where(is_wide, 1.0, BOOLEAN_PRIOR_SCALE), 0.0).astype(np.float32)
    )


def _column_scores(columns: Sequence[Column], lower: Mapping[str, str], estimate: FieldScores) -> Floats:
    """Returns the score (d,) of each column for one label, by one estimate."""
    out = np.zeros(len(columns), np.float32)
    scores = {name.lower(): score for name, score in estimate.items()}
    for i, column in enumerate(columns):
        score = scores.get(column.field.lower(), 0.0)
        scores_by_value = (
            {value.lower(): value_score for value, value_score in score.items()} if isinstance(score, Mapping) else {}
        )
        field_score = 0.0 if isinstance(score, Mapping) else score
        value_score = scores_by_value.get(column.value.lower(), 0.0)
        if column.is_number:
            out[i] = field_score
        elif column.value == MISSING:
            out[i] = value_score
        elif column.field in lower:
            lower_score = scores_by_value.get(lower[column.field].lower())
            out[i] = field_score or (value_score if lower_score is None else (value_score - lower_score) / 2)
        else:
            out[i] = value_score / CATEGORY_STEP
    return out
