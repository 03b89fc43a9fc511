"""Explanations of drafts: for a linear head they are its own attribution."""

from __future__ import annotations

import json

import numpy as np
import pytest
from plugin_overrides import OverridePlugins
from schemas import fitted_choices

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.core.schema import ChoicesSchema, InputSpec, ProjectSchema
from ml_backend.core.types import record_text
from ml_backend.model.explanations import MAX_FIELDS, MIN_EFFECT, MIN_EFFECT_SHARE, explain_drafts
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from plugins.encoders.tabular import TabularEncoder
from plugins.learners.calibration import linear_probabilities

SCHEMA = ProjectSchema(InputSpec(record_field="record"), (ChoicesSchema("label", "record", ("no", "yes")),))


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


@pytest.fixture(autouse=True)
def linear_head(override_plugins: OverridePlugins) -> None:
    """Installs the learner "head", which predicts with the weights that it is given."""

    class Head:
        def fit(self, train: TrainingSet, seed: int) -> Fit:
            raise NotImplementedError

        def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
            raise NotImplementedError

        def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
            return linear_probabilities(tensors, vectors)

    override_plugins({"learner.head": Head})


def model_with(weight: Floats) -> FittedModel:
    """A model whose head has this weight for yes."""
    tensors = {
        "weight": np.stack([0 * weight, weight], axis=1),
        "bias": np.zeros(2, np.float32),
        "multiple": np.array([False]),
    }
    no_targets = np.empty((0, 2), np.float32)
    snapshot = TrainingSnapshot(
        "head", "records", fitted_choices(("no", "yes")), np.empty(0, np.int64), b"", no_targets
    )
    return FittedModel(1, snapshot, tensors, no_targets)


def test_effects_of_a_linear_head_are_weight_times_value_by_field() -> None:
    records = pool()
    encoder = TabularEncoder(TabularEncoder.profile(records, {}))
    texts = [record_text(record) for record in records[:40]]
    vectors = encoder.encode(texts)
    weight = np.random.default_rng(1).normal(size=encoder.dim).astype(np.float32) * 3
    weight[-1] = 0
    learner = model_with(weight)
    probabilities = learner.predict(SCHEMA.controls[0], vectors)
    chosen = probabilities >= probabilities.max(axis=1, keepdims=True)
    explanations = explain_drafts(learner, SCHEMA.controls[0], encoder, texts, vectors, probabilities)
    for row, explanation in enumerate(explanations):
        sign = 1 if chosen[row, 1] else -1
        by_field: dict[str, float] = {}
        for index, column in enumerate(encoder.vector_columns):
            by_field[column.field] = by_field.get(column.field, 0) + sign * 2 * float(
                weight[index] * vectors[row, index]
            )
        # the log-odds of one of two labels rise as those of the other fall: both count alike
        effects = {name: effect / 2 for name, effect in by_field.items() if name}
        threshold = max(MIN_EFFECT, MIN_EFFECT_SHARE * sum(max(effect, 0) for effect in effects.values()))
        strongest = sorted((name for name in effects if effects[name] > threshold), key=lambda name: -effects[name])
        assert [field.rsplit(" ", 1)[0] for field in explanation] == strongest[:MAX_FIELDS]
        for field in explanation:
            name, _, value = field.rpartition(" ")
            assert str(json.loads(texts[row])[name]).startswith(value.rstrip("…")[:10])


def test_missing_and_long_values_are_shortened() -> None:
    records: list[dict[str, object]] = [{"a": None if n % 3 else "x" * 90, "b": float(n)} for n in range(60)]
    encoder = TabularEncoder(TabularEncoder.profile(records, {"a": "categorical"}))
    texts = [record_text(records[1]), record_text(records[0])]
    vectors = encoder.encode(texts)
    columns = [index for index, column in enumerate(encoder.vector_columns) if column.field == "a"]
    for row, expected in ((0, "a missing"), (1, "a " + "x" * 23 + "…")):
        weight = np.zeros(encoder.dim, np.float32)
        weight[columns] = 9 * vectors[row, columns]
        learner = model_with(weight)
        probabilities = learner.predict(SCHEMA.controls[0], vectors[row : row + 1])
        assert probabilities.argmax() == 1
        assert explain_drafts(
            learner, SCHEMA.controls[0], encoder, texts[row : row + 1], vectors[row : row + 1], probabilities
        ) == [(expected,)]


def test_a_draft_that_no_field_supports_has_no_explanation() -> None:
    records = pool(30)
    encoder = TabularEncoder(TabularEncoder.profile(records, {}))
    texts = [record_text(record) for record in records[:3]]
    vectors = encoder.encode(texts)
    learner = model_with(np.zeros(encoder.dim, np.float32))
    probabilities = learner.predict(SCHEMA.controls[0], vectors)
    assert explain_drafts(learner, SCHEMA.controls[0], encoder, texts, vectors, probabilities) == [(), (), ()]
    assert explain_drafts(learner, SCHEMA.controls[0], encoder, [], vectors[:0], probabilities[:0]) == []
