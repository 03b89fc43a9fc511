"""Labelled exports, and quick simulations of them, for the tests of `apprentice simulate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_label_studio import SINGLE, WORDS, text_about

from ml_backend.core.arrays import Clustering, DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.core.ports import Clusterer
from ml_backend.core.settings import Settings
from ml_backend.rendering.simulation_text import notice_text
from ml_backend.simulation.config import SimulationConfig
from ml_backend.simulation.learning_curves import Measurement, read_csv
from ml_backend.simulation.run import Simulator

LABELS = list(WORDS)
Body = dict[str, Any]


class NearestMeanLearner:
    """Predicts the label with the nearest mean vector; quick to fit, so that a test can simulate many rounds."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        tensors: Tensors = {"means": train.targets.T @ train.vectors / len(train.targets)}
        held_out = self.predict(tensors, train.vectors)
        return Fit(tensors, held_out, None if train.earlier is None else held_out)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        strength = np.exp(9 * vectors @ np.asarray(tensors["means"], np.float32).T)
        return np.asarray(strength / strength.sum(axis=1, keepdims=True), np.float32)


class FewClusters:
    """Cuts a pool into at most four clusters, which takes little time."""

    def __init__(self, clusterer: Clusterer) -> None:
        self._clusterer = clusterer

    def cut(self, vectors: Floats, k: int, seed: int) -> Clustering:
        return self._clusterer.cut(vectors, min(k, 4), seed)

    def extend(self, vectors: Floats, clustering: Clustering) -> Clustering:
        return self._clusterer.extend(vectors, clustering)


def export(n: int, first: int = 1, labels: Sequence[str] = LABELS) -> list[Body]:
    """n labelled tasks, about the labels in turn."""
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


class SimulationFolder:
    """A folder with an export and its configuration, and simulations of them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.out = folder, settings, folder / "report"
        self.messages: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.write(export(30))
        (folder / "config.xml").write_text(SINGLE)

    def write(self, tasks: Any, name: str = "tasks.json") -> Path:
        (self.folder / name).write_text(json.dumps(tasks))
        return self.folder / name

    def __call__(self, **values: Any) -> Simulator:
        files = {"tasks": self.folder / "tasks.json", "label_config": self.folder / "config.xml", "out": self.out}
        small = {"strategies": ["margin"], "budget": 12, "batch": 4, "seeds": 2}
        config = SimulationConfig(**{**files, **small, **values})
        return Simulator(
            self.settings,
            config,
            lambda notice: self.messages.append(notice_text(notice)),
            lambda *step: self.progress.append(step),
        )

    def run(self, **values: Any) -> Simulator:
        simulator = self(**values)
        simulator.run()
        return simulator

    def runs(self, out: Path | None = None) -> list[tuple[str, int]]:
        """The complete runs, in the order of curves.csv."""
        return list(
            dict.fromkeys(
                (measurement.strategy, measurement.seed) for measurement in read_csv((out or self.out) / "curves.csv")
            )
        )

    def numbers(self, out: Path | None = None) -> list[Measurement]:
        """All measurements but the seconds."""
        return [
            measurement for measurement in read_csv((out or self.out) / "curves.csv") if measurement.metric != "seconds"
        ]
