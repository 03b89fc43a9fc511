"""Stores a fitted model as tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from ml_backend.core.arrays import Tensors
from plugins.learners.crf import gazetteer as gazetteers
from plugins.learners.crf.chain import Chain
from plugins.learners.crf.fit import Field
from plugins.learners.crf.model import Model, PriorChoice

HEADER, MEAN, SCALE, THRESHOLDS = "header", "mean", "scale", "thresholds"
"""Names of tensors."""


def pack(model: Model) -> Tensors:
    """The model as tensors."""
    tensors: Tensors = {
        HEADER: np.frombuffer(_header(model), np.uint8),
        MEAN: model.mean,
        SCALE: model.scale,
        THRESHOLDS: model.thresholds,
        **gazetteers.to_tensors(model.gazetteer),
    }
    for head, fields in enumerate(model.fields):
        for layer, field in enumerate(fields):
            steps = np.vstack([field.chain.transitions, field.chain.start, field.chain.end])
            for name, tensor in (("weights", field.weights), ("bias", field.bias), ("steps", steps)):
                tensors[f"head{head}.layer{layer}.{name}"] = tensor
    return tensors


def _header(model: Model) -> bytes:
    parts = {"layers": model.layers, "cold_words": model.cold_words, "choice": asdict(model.choice)}
    return json.dumps(parts).encode()


def unpack(tensors: Tensors) -> Model:
    """The inverse of `pack`."""
    header = json.loads(bytes(tensors[HEADER]))
    layers = header["layers"]
    return Model(
        layers=layers,
        mean=np.asarray(tensors[MEAN], np.float32),
        scale=np.asarray(tensors[SCALE], np.float32),
        gazetteer=gazetteers.from_tensors(tensors),
        fields=[[*_read_fields(tensors, head, len(layers))] for head in range(len(tensors[THRESHOLDS]))],
        thresholds=np.asarray(tensors[THRESHOLDS], np.float64),
        cold_words=header["cold_words"],
        choice=PriorChoice(**header["choice"]),
    )


def _read_fields(tensors: Tensors, head: int, n_layers: int) -> Iterator[Field]:
    for layer in range(n_layers):
        prefix = f"head{head}.layer{layer}"
        steps = np.asarray(tensors[f"{prefix}.steps"], np.float64)
        yield Field(
            np.asarray(tensors[f"{prefix}.weights"], np.float32),
            np.asarray(tensors[f"{prefix}.bias"], np.float32),
            Chain(steps[:-2], steps[-2], steps[-1]),
        )
