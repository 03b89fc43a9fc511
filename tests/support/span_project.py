"""A project of the fake Label Studio whose annotators mark the persons and places of short sentences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_label_studio import Body, FakeLabelStudio
from fake_word_encoder import FakeWordEncoder
from plugin_overrides import OverridePlugins
from prediction_validation import validation_errors
from round_fixtures import MakeRound

from ml_backend.loop.round import run_round
from ml_backend.storage import Store

CONFIG = (
    '<View><Labels name="ner" toName="text"><Label value="Person"/><Label value="Place"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
NAMES, PLACES = ("Ann", "Bob", "Carla", "Dan", "Eve", "Finn"), ("Paris", "Rome", "Oslo", "Lima", "Kyiv", "Bern")


class ValidatingLabelStudio(FakeLabelStudio):
    """Checks predictions as the bulk import of Label Studio does."""

    def _valid(self, row: Body) -> bool:
        return not validation_errors(self.label_config, row["result"])


@pytest.fixture
def server() -> FakeLabelStudio:
    return ValidatingLabelStudio(label_config=CONFIG)


@pytest.fixture
def fake_encoder(override_plugins: OverridePlugins) -> FakeWordEncoder:
    """Replaces the default encoder by one that gives vectors of words."""
    encoder = FakeWordEncoder()
    override_plugins({"encoder.minilm": lambda: encoder})
    return encoder


def sentence(n: int) -> tuple[str, list[tuple[str, str]]]:
    """A sentence, and its spans as texts with labels."""
    name, place = NAMES[n % 6], PLACES[(n // 6) % 6]
    return (
        (f"{name} went to {place} on day {n}", [(name, "Person"), (place, "Place")]),
        (f"on day {n} we saw nobody at all", []),
        (f"in {place}, day {n}, it rained", [(place, "Place")]),
    )[n % 3]


def add_tasks(server: FakeLabelStudio, n: int) -> None:
    server.add_tasks([sentence(i)[0] for i in range(n)])


def result(text: str, spans: list[tuple[str, str]]) -> list[Body]:
    return [
        {
            "from_name": "ner", "to_name": "text", "type": "labels",
            "value": {"start": text.index(part), "end": text.index(part) + len(part), "text": part, "labels": [label]},
        }
        for part, label in spans
    ]  # fmt: skip


def annotate(server: FakeLabelStudio, tasks: list[int]) -> None:
    for task in tasks:
        server.annotate_with(task, result(*sentence(task - min(server.tasks))))


@pytest.fixture
def learnt(server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store) -> list[int]:
    """A project of 90 tasks with 36 annotated ones and a learner. Returns the annotated tasks."""
    add_tasks(server, 90)
    run_round(make_round(server))
    annotated = list(server.tasks)[:36]
    annotate(server, annotated)
    run_round(make_round(server))
    return annotated
