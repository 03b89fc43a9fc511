"""Pools of records with fields of several kinds, for tests of their encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats
from plugins.encoders.tabular import TabularEncoder

profile = TabularEncoder.profile


def pool(n: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """People, with all kinds of fields, some of them empty."""
    random = np.random.default_rng(seed)
    return [
        {
            "age": int(random.integers(18, 90)),
            "income": f"{int(random.lognormal(10, 1)):,}",
            "smoker": str(random.choice(["yes", "no"], p=[0.2, 0.8])),
            "city": str(random.choice(["Oslo", "Bergen", "Tromso"], p=[0.6, 0.3, 0.1])),
            "visits": None if random.random() < 0.3 else float(random.integers(0, 9)),
            "level": str(random.choice(["low", "middle", "high"])),
            "since": f"20{random.integers(10, 25)}-0{random.integers(1, 10)}-1{random.integers(0, 10)}",
            "id": f"person {number}",
            "country": "Norway",
        }
        for number in range(n)
    ]


LEVELS = {"level": ["low", "middle", "high"]}


def encoder_of(records: list[dict[str, Any]], kinds: Mapping[str, object] | None = None) -> TabularEncoder:
    return TabularEncoder(profile(records, kinds or {}))


def encode(encoder: TabularEncoder, *records: Any) -> npt.NDArray[Any]:
    return encoder.encode([json.dumps(record) for record in records])


class Words:
    """Encodes a text by its first letter."""

    name, dim, quick = "words", 26, False

    def encode(self, texts: Sequence[str]) -> Floats:
        out = np.full((len(texts), 26), 0.1, np.float32)
        for row, text in enumerate(texts):
            out[row, ord((text or "a")[0].lower()) % 26] = 1
        return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))

    def sketch(self, texts: Sequence[str]) -> Floats:
        return self.encode(texts)[:, :5]

    def verify(self) -> str:
        return ""


def notes(n: int = 120) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {"age": int(random.integers(0, 90)), "note": f"{'abcde'[random.integers(0, 5)]} word number {row} of this one"}
        for row in range(n)
    ]
