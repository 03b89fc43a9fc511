"""Why a record gets its draft: of a linear head, its own attribution; of any learner, what it says without a field."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ml_backend.core.types import DistillationData, Fit, Floats, TaskSchema, Tensors, TrainingSet, record_text
from ml_backend.model.explanations import LEAST, LEAST_SHARE, MOST, reasons
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from plugins.encoders.tabular import TabularEncoder
from plugins.learners.calibration import linear

SCHEMA = TaskSchema(("no", "yes"), False, "label", "record", "", record_field="record")


def pool(n: int = 200) -> list[dict[str, object]]:
    random = np.random.default_rng(0)
    return [
        {
            "age": int(random.integers(20, 80)), "weight": float(random.normal(70, 10)),
            "city": str(random.choice(["Oslo", "Bergen", "Tromso"])), "noise": float(random.normal()),
            "height": float(random.normal(170, 9)),
        }
        for _ in range(n)
    ]  # fmt: skip


def known(weight: Floats, monkeypatch: pytest.MonkeyPatch) -> FittedModel:
    """A learner with a given head for yes."""

    class Head:
        def fit(self, train: TrainingSet, seed: int) -> Fit: ...

        def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]: ...

        def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
            return linear(tensors, vectors)

    monkeypatch.setattr("ml_backend.core.registry.learner", lambda _: Head())
    tensors = {
        "weight": np.stack([0 * weight, weight], axis=1),
        "bias": np.zeros(2, np.float32),
        "multiple": np.array([False]),
    }
    lesson = TrainingSnapshot(
        "head", "records", SCHEMA.labels, False, np.empty(0, np.int64), b"", np.empty((0, 2), np.float32)
    )
    return FittedModel(1, lesson, tensors, np.empty((0, 2), np.float32))


def test_of_a_linear_head_they_are_weight_times_value_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    records = pool()
    encoder = TabularEncoder(TabularEncoder.profile(records, {}))
    texts = [record_text(each) for each in records[:40]]
    vectors = encoder.encode(texts)
    weight = np.random.default_rng(1).normal(size=encoder.dim).astype(np.float32) * 3
    weight[-1] = 0
    learner = known(weight, monkeypatch)
    said = learner.predict(SCHEMA, vectors)
    chosen = said >= said.max(axis=1, keepdims=True)
    found = reasons(learner, SCHEMA, encoder, texts, vectors, chosen)
    for row, why in enumerate(found):
        towards = 1 if chosen[row, 1] else -1
        by_field: dict[str, float] = {}
        for place, column in enumerate(encoder.columns_in_full):
            by_field[column.field] = by_field.get(column.field, 0) + towards * 2 * float(
                weight[place] * vectors[row, place]
            )
        # of two labels, the log-odds of one rise as those of the other fall: both count alike
        effects = {name: each / 2 for name, each in by_field.items() if name}
        least = max(LEAST, LEAST_SHARE * sum(max(each, 0) for each in effects.values()))
        best = sorted((name for name in effects if effects[name] > least), key=lambda name: -effects[name])[:MOST]
        assert [each.rsplit(" ", 1)[0] for each in why] == best
        for each in why:
            name, _, value = each.rpartition(" ")
            assert str(json.loads(texts[row])[name]).startswith(value.rstrip("…")[:10])


def test_values_that_are_missing_or_long_are_named_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[dict[str, object]] = [{"a": None if n % 3 else "x" * 90, "b": float(n)} for n in range(60)]
    encoder = TabularEncoder(TabularEncoder.profile(records, {"a": "categorical"}))
    texts = [record_text(records[1]), record_text(records[0])]
    vectors = encoder.encode(texts)
    places = [place for place, column in enumerate(encoder.columns_in_full) if column.field == "a"]
    for row, expected in ((0, "a missing"), (1, "a " + "x" * 23 + "…")):
        weight = np.zeros(encoder.dim, np.float32)
        weight[places] = 9 * vectors[row, places]
        learner = known(weight, monkeypatch)
        chosen = np.array([[False, True]])
        assert reasons(learner, SCHEMA, encoder, texts[row : row + 1], vectors[row : row + 1], chosen) == [(expected,)]


def test_a_draft_that_nothing_speaks_for_has_no_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    records = pool(30)
    encoder = TabularEncoder(TabularEncoder.profile(records, {}))
    texts = [record_text(each) for each in records[:3]]
    vectors = encoder.encode(texts)
    learner = known(np.zeros(encoder.dim, np.float32), monkeypatch)
    assert reasons(learner, SCHEMA, encoder, texts, vectors, np.ones((3, 2), np.bool_)) == [(), (), ()]
    assert reasons(learner, SCHEMA, encoder, [], vectors[:0], np.ones((0, 2), np.bool_)) == []
