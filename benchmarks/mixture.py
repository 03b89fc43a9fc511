"""Made-up vectors for `make bench-acquisition`, written to a folder for the measuring processes.

The peers' environment, where nothing of ours is installed, reads them, too: our own packages are imported where they
are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DIMENSION, CLASSES, TOPICS, CLUSTERS, LABELLED = 384, 10, 100, 30, 200
CHUNK = 50_000
SEED = 0


@dataclass(frozen=True)
class Data:
    """Unit vectors, predicted probabilities and true classes. The last LABELLED rows have a label."""

    vectors: Any
    probabilities: Any
    classes: Any
    assignment: Any
    centroids: Any

    @property
    def labelled(self) -> Any:
        return np.arange(len(self.vectors)) >= len(self.vectors) - LABELLED

    def part(self, n: int) -> Data:
        """Returns the first n rows and the labelled rows."""
        rows = np.r_[:n, len(self.vectors) - LABELLED : len(self.vectors)]
        return Data(
            self.vectors[rows],
            self.probabilities[rows],
            self.classes[rows],
            self.assignment[rows],
            self.centroids,
        )

    def write(self, folder: Path) -> None:
        folder.mkdir()
        for name, array in vars(self).items():
            np.save(folder / name, array)

    @classmethod
    def read(cls, folder: Path) -> Data:
        return cls(**{name: np.load(folder / f"{name}.npy") for name in cls.__dataclass_fields__})


def make(n: int) -> Data:
    """Draws a mixture whose cosines resemble those of sentence embeddings.

    All texts share a direction (mean cosine 0.2, as of MiniLM on questions), each belongs to one of 100 topics of
    uneven size (cosine within one 0.6), and the rest is noise of falling variance, so that near texts exist.
    Probabilities: softmax of a linear map with logits of standard deviation 2; the true classes are drawn from them.
    """
    from ml_backend.core import registry

    random = np.random.default_rng(SEED)
    spectrum = np.arange(1, DIMENSION + 1) ** -0.5
    spectrum /= np.linalg.norm(spectrum)
    common = _unit(random.normal(size=DIMENSION)).astype(np.float32)
    topics = _unit(random.normal(size=(TOPICS, DIMENSION)) * spectrum).astype(np.float32)
    sizes = random.lognormal(size=TOPICS)
    topic = random.choice(TOPICS, n, p=sizes / sizes.sum())
    vectors = np.empty((n, DIMENSION), np.float32)
    for start in range(0, n, CHUNK):
        part = vectors[start : start + CHUNK]
        random.standard_normal(out=part, dtype=np.float32)
        part *= 0.65 * spectrum.astype(np.float32)
        part += 0.45 * common + 0.6 * topics[topic[start : start + CHUNK]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    logits = vectors @ random.normal(size=(DIMENSION, CLASSES)).astype(np.float32)
    logits = 2 * (logits - logits.mean(axis=0)) / logits.std(axis=0)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes = (probabilities.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    clustering = registry.clusterer().cut(vectors, CLUSTERS, SEED)
    return Data(vectors, probabilities, classes, clustering.assignment, clustering.centroids)


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
