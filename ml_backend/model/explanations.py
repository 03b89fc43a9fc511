"""Explains a learner's drafts of records by the fields that support them most.

The method is occlusion, which suits any learner: a field's effect is the fall of the draft's support when the field has
the pool's mean value. Of choices, the support is the log-odds of the drafted label: for a linear head over standardised
columns, its fall is weight times value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Rows
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import texts_at
from ml_backend.core.types import read_record, shorten
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.fitted_model import FittedModel

MAX_FIELDS = 3
MIN_EFFECT, MIN_EFFECT_SHARE = 0.02, 0.05
"""A field explains a draft if its effect is above both: as a fall of the support, and as a share of all positive
effects."""
MAX_ROWS_PER_PREDICTION = 4096  # records with an occluded field whose vectors are in memory at the same time


def explain_drafts(
    learner: FittedModel,
    control: ControlSchema,
    encoder: RecordEncoder,
    texts: Sequence[str],
    vectors: Floats,
    predicted: Rows,
) -> list[tuple[str, ...]]:
    """For each of n records up to MAX_FIELDS fields with their values, the strongest first. vectors (n, d); predicted
    (n, ...): the learner's predictions for them."""
    columns: dict[str, list[int]] = {}
    for index, column in enumerate(encoder.vector_columns):
        if column.field:
            columns.setdefault(column.field, []).append(index)
    names = list(columns)
    if not len(vectors) or not names:
        return [() for _ in texts]
    of_kind = kind_of(control)
    full_support = of_kind.support(control, predicted, predicted)
    effects = np.empty((len(vectors), len(names)), np.float32)
    batch_size = max(MAX_ROWS_PER_PREDICTION // len(vectors), 1)
    for start in range(0, len(names), batch_size):
        batch = names[start : start + batch_size]
        occluded = np.repeat(vectors[None], len(batch), axis=0)
        for i, name in enumerate(batch):
            occluded[i][:, columns[name]] = 0.0
        occluded_predicted = learner.predict(
            control, occluded.reshape(-1, vectors.shape[1]), texts_at([*texts] * len(batch))
        )
        support = of_kind.support(control, occluded_predicted, np.concatenate([predicted] * len(batch)))
        effects[:, start : start + len(batch)] = full_support[:, None] - support.reshape(len(batch), -1).T
    explanations = []
    for row, text in enumerate(texts):
        record = read_record(text)
        threshold = max(MIN_EFFECT, MIN_EFFECT_SHARE * float(effects[row].clip(0).sum()))
        strongest = np.argsort(-effects[row], kind="stable")[:MAX_FIELDS]
        fields = [names[i] for i in strongest if effects[row, i] > threshold]
        explanations.append(tuple(_with_value(name, record.get(name)) for name in fields))
    return explanations


def _with_value(name: str, value: object) -> str:
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    text = "missing" if value is None or value == "" else str(value)
    return f"{name} {shorten(text)}"
