"""Why a learner drafts what it drafts: the fields of a record that speak most for it.

By occlusion, which suits any learner: how much the log-odds of the drafted label fall if the field has the value that
the pool has on average. For a linear head over standardised columns that is weight times value, its own attribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.ports import RecordEncoder
from ml_backend.core.types import Floats, Mask, TaskSchema, read_record, shortened
from ml_backend.model.fitted_model import FittedModel

MOST = 3
LEAST, LEAST_SHARE = 0.02, 0.05
"""In log-odds, and of all that speaks for a draft: less is no reason for it."""
SMALLEST = 1e-6
AT_ONCE = 4096  # rows that are answered together


def reasons(
    learner: FittedModel,
    schema: TaskSchema,
    encoder: RecordEncoder,
    texts: Sequence[str],
    vectors: Floats,
    chosen: Mask,
) -> list[tuple[str, ...]]:
    """For each of n records up to MOST fields with their values, the strongest first. vectors (n, d); chosen (n, c):
    the labels that are drafted."""
    columns: dict[str, list[int]] = {}
    for place, column in enumerate(encoder.columns_in_full):
        if column.field:
            columns.setdefault(column.field, []).append(place)
    names = list(columns)
    if not len(vectors) or not names:
        return [() for _ in texts]
    with_all = _odds(learner.predict(schema, vectors), chosen)
    effects = np.empty((len(vectors), len(names)), np.float32)
    each = max(AT_ONCE // len(vectors), 1)  # fields at a time
    for start in range(0, len(names), each):
        some = names[start : start + each]
        without = np.repeat(vectors[None], len(some), axis=0)
        for place, name in enumerate(some):
            without[place][:, columns[name]] = 0.0
        said = learner.predict(schema, without.reshape(-1, vectors.shape[1]))
        odds = _odds(said, np.tile(chosen, (len(some), 1))).reshape(len(some), -1)
        effects[:, start : start + len(some)] = with_all[:, None] - odds.T
    found = []
    for row, text in enumerate(texts):
        record = read_record(text)
        least = max(LEAST, LEAST_SHARE * float(effects[row].clip(0).sum()))
        best = [place for place in np.argsort(-effects[row], kind="stable")[:MOST] if effects[row, place] > least]
        found.append(tuple(_said(names[place], record.get(names[place])) for place in best))
    return found


def _odds(probabilities: Floats, chosen: Mask) -> Floats:
    """(n,) the log-odds of the labels that are chosen, summed."""
    p = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return np.asarray((np.log(p / (1 - p)) * chosen).sum(axis=1), np.float32)


def _said(name: str, value: object) -> str:
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    words = "missing" if value is None or value == "" else str(value)
    return f"{name} {shortened(words)}"
