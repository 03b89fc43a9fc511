"""The layers of an encoder after which a project's words are read, as the monitor has chosen and stored them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_backend.core.texts import Layers
from ml_backend.storage import ProjectRow

WORD_LAYERS = "word_layers"
"""Name of the choice in a result of the monitor."""


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """The layers that were chosen for a project.

    encoder   the name of the encoder
    layers    those that words are read after, () for the encoder's own
    previous  those before the choice
    since     time of the choice, in seconds since the epoch
    labelled  number of labelled texts at that time
    scores    the held-out score of each of the compared candidates: [layers, score]
    """

    encoder: str
    layers: Layers
    previous: Layers
    since: float
    labelled: int
    scores: tuple[tuple[Layers, float], ...]


def stored_choice(project_row: ProjectRow, encoder: str) -> LayerChoice | None:
    """The last choice for a project, None if there is none for this encoder."""
    results = (result.get(WORD_LAYERS) for result in project_row.monitor_results.values())
    choices = [read_choice(document) for document in results if document]
    return max((c for c in choices if c.encoder == encoder), key=lambda choice: choice.since, default=None)


def read_choice(document: Mapping[str, Any]) -> LayerChoice:
    """The choice in a result of the monitor, which is JSON."""
    scores = tuple((tuple(layers), score) for layers, score in document["scores"])
    layers, previous = tuple(document["layers"]), tuple(document["previous"])
    return LayerChoice(**{**document, "layers": layers, "previous": previous, "scores": scores})
