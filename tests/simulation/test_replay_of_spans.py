"""A simulation of spans selects and fits as the loop does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio
from fake_word_encoder import FakeWordEncoder
from plugin_overrides import OverridePlugins
from round_fixtures import queue

from ml_backend.core.arrays import object_rows
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import content_key
from ml_backend.core.words import count_words
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.context import RoundContext
from ml_backend.loop.query_selection import select_queries
from ml_backend.loop.queue_builder import RankingContext
from ml_backend.loop.round import run_round
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import TrainingSnapshot
from ml_backend.pool.encoded_texts import WordReader, encode_texts
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.simulation import replay
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.storage import Store

CONFIG = (
    '<View><Labels name="ner" toName="text"><Label value="Person"/></Labels><Text name="text" value="$text"/></View>'
)
NAMES = ("Ann", "Bob", "Carla", "Dan", "Eve")
N = 45


def sentence(n: int) -> str:
    return (
        f"{NAMES[n % 5]} went away on day {n}",
        f"nobody, {n}",
        f"on day {n} we saw {NAMES[n % 5]}, then it rained",
    )[n % 3]


def spans(text: str) -> list[tuple[int, int]]:
    return [(text.index(name), text.index(name) + len(name)) for name in NAMES if name in text]


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(label_config=CONFIG)


@pytest.fixture
def fake_encoder(override_plugins: OverridePlugins) -> FakeWordEncoder:
    encoder = FakeWordEncoder()
    override_plugins({"encoder.minilm": lambda: encoder})
    return encoder


def annotate(server: FakeLabelStudio, tasks: list[int]) -> None:
    for task in tasks:
        text = server.tasks[task]["data"]["text"]
        regions = [
            {
                "from_name": "ner", "to_name": "text", "type": "labels",
                "value": {"start": start, "end": end, "text": text[start:end], "labels": ["Person"]},
            }
            for start, end in spans(text)
        ]  # fmt: skip
        server.annotate_with(task, regions)


@pytest.mark.parametrize("cost", ["sentences", "words"])
def test_a_live_project_gets_the_queues_and_the_learners_that_were_simulated(
    cost: str,
    server: FakeLabelStudio,
    make_round: Callable[..., RoundContext],
    options: Callable[..., None],
    fake_encoder: FakeWordEncoder,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options(queue_size=8, audit_share=0.0, acquisition="entropy", cost=cost)
    encode = fake_encoder.encode  # as the cache on disk rounds
    monkeypatch.setattr(fake_encoder, "encode", lambda texts: encode(texts).astype(np.float16).astype(np.float32))
    monkeypatch.setattr(RankingContext, "seed", property(lambda context: context.number))
    learners: list[Any] = []
    fit = fitted_model.fit_model

    def record(snapshot: TrainingSnapshot, *arguments: Any) -> Any:
        model, result = fit(snapshot, *arguments)
        learners.append(model)
        return model, result

    monkeypatch.setattr(fitted_model, "fit_model", record)
    server.add_tasks([sentence(n) for n in range(N)])
    tasks, queues = list(server.tasks), []
    for _ in range(4):
        run_round(make_round(server))
        queues.append(queue(server))
        annotate(server, queues[-1])
    live = [learner.tensors for learner in learners if learner is not None]
    learners.clear()

    chosen: list[list[int]] = []

    def record_queue(*arguments: Any) -> Any:
        selection = select_queries(*arguments)
        chosen.append([tasks[row] for row in selection.rows])
        return selection

    monkeypatch.setattr(replay, "select_queries", record_queue)
    monkeypatch.setattr(replay, "SEED_STRIDE", 0)
    monkeypatch.setattr(replay, "count", lambda: itertools.count(1))
    texts = [sentence(n) for n in range(N)]
    encoder = WordSpaceEncoder(fake_encoder)
    cache = store.vectors(6, encoder.name)
    encoded = encode_texts(encoder, texts)
    cache.add([content_key(text) for text in texts], encoded.vectors, encoded.words)
    targets = object_rows([(tuple((*span, "Person", 1.0) for span in spans(text)), 0) for text in texts])
    n_words = np.array([count_words(text) for text in texts])
    settings = ProjectSettings(acquisition="entropy", cost=cost).with_form_defaults("text")
    plan = SimulationPlan(read_schema(CONFIG), settings, encoder.name, initial=0, batch=8, budget=32)
    pool = LabelledPool(encoded.vectors, {"ner": targets}, [""] * N, texts, WordReader(encoder, cache), n_words)
    measurements = list(simulate(plan, pool, pool, "entropy", 5))
    assert chosen == queues
    simulated = [learner.tensors for learner in learners if learner is not None]
    assert len(simulated) == len(live) + 1 == 4  # the last one is measured only
    for of_loop, of_simulation in zip(live, simulated, strict=False):
        assert of_loop.keys() == of_simulation.keys()
        assert all(np.array_equal(of_loop[name], of_simulation[name]) for name in of_loop)
    assert not {"words", "spans"} & {measurement.metric for measurement in measurements}
