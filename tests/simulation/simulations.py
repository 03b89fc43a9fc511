"""Exports with answers, and simulations of them that take no time: what the tests of `apprentice simulate` share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_label_studio import SINGLE, WORDS, text_about

from ml_backend.core.settings import Settings
from ml_backend.core.types import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.simulation.config import SimulationConfig
from ml_backend.simulation.learning_curves import Measurement, read_csv
from ml_backend.simulation.run import Simulator

LABELS = list(WORDS)
Body = dict[str, Any]


class Means:
    """Quick to fit, so that a test may simulate a lot: the label whose mean vector is nearest."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        tensors: Tensors = {"means": train.targets.T @ train.vectors / len(train.targets)}
        found = self.predict(tensors, train.vectors)
        return Fit(tensors, found, None if train.earlier is None else found)

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        strength = np.exp(9 * vectors @ tensors["means"].T)
        return np.asarray(strength / strength.sum(axis=1, keepdims=True), np.float32)


def export(n: int, first: int = 1, labels: Sequence[str] = LABELS) -> list[Body]:
    """n tasks about the labels in turn, each answered."""
    return [
        {
            "id": number,
            "data": {"text": text_about(LABELS[number % 3], number), "topic": ["north", "south", None][number % 3]},
            "annotations": [answer(number, labels[number % len(labels)])],
        }
        for number in range(first, first + n)
    ]


def answer(number: int, *choices: str) -> Body:
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}]
    return {"id": number, "completed_by": 1, "was_cancelled": False, "result": result}


class Bench:
    """A folder with an export and its configuration, and simulations of them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.out = folder, settings, folder / "report"
        self.said: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.write(export(30))
        (folder / "config.xml").write_text(SINGLE)

    def write(self, tasks: Any, name: str = "tasks.json") -> Path:
        (self.folder / name).write_text(json.dumps(tasks))
        return self.folder / name

    def __call__(self, **values: Any) -> Simulator:
        files = {"tasks": self.folder / "tasks.json", "label_config": self.folder / "config.xml", "out": self.out}
        small = {"strategies": ["margin"], "budget": 12, "batch": 4, "seeds": 2}
        request = SimulationConfig(**{**files, **small, **values})
        return Simulator(self.settings, request, self.said.append, lambda *step: self.progress.append(step))

    def run(self, **values: Any) -> Simulator:
        made = self(**values)
        made.run()
        return made

    def runs(self, out: Path | None = None) -> list[tuple[str, int]]:
        """The complete runs in the order in which they were made."""
        return list(dict.fromkeys((each.strategy, each.seed) for each in read_csv((out or self.out) / "curves.csv")))

    def numbers(self, out: Path | None = None) -> list[Measurement]:
        """All that was measured but the time."""
        return [each for each in read_csv((out or self.out) / "curves.csv") if each.metric != "seconds"]
