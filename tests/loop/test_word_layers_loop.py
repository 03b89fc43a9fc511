"""A project whose encoder offers several layers: the monitor chooses some, and the next round reads words after
them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio
from layered_word_encoder import GOOD, LayeredWordEncoder, sentence
from plugin_overrides import OverridePlugins
from round_fixtures import MakeRound, active
from span_project import CONFIG, server

from ml_backend.core.settings import Settings
from ml_backend.loop.preparation import prepare
from ml_backend.loop.round import run_round
from ml_backend.model.project_model import load
from ml_backend.monitoring.monitor import MonitorInput, read_monitor_input, run_monitor
from ml_backend.monitoring.status import read_status
from ml_backend.pool.layer_choice import stored_choice
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor

__all__ = ["server"]  # a fixture
N = 100


@pytest.fixture
def fake_encoder(override_plugins: OverridePlugins) -> LayeredWordEncoder:
    encoder = LayeredWordEncoder()
    override_plugins({"encoder.minilm": lambda: encoder})
    return encoder


def annotate(server: FakeLabelStudio, tasks: list[int]) -> None:
    for task in tasks:
        text, name = sentence(task - min(server.tasks))
        regions = []
        if name is not None:
            value = {"start": name[0], "end": name[1], "text": text[slice(*name)], "labels": ["Person"]}
            regions.append({"from_name": "ner", "to_name": "text", "type": "labels", "value": value})
        server.annotate_with(task, regions)


def monitor_input(make_round: MakeRound, server: FakeLabelStudio, store: Store) -> MonitorInput:
    context = make_round(server)
    inputs = prepare(context)
    [control] = inputs.schema.controls
    row = store.projects.ensure(5)
    read = read_monitor_input(store, context.pool, context.aggregator, row, control, inputs.options)
    assert read is not None
    return read


@pytest.fixture
def monitored(
    server: FakeLabelStudio, fake_encoder: LayeredWordEncoder, make_round: MakeRound, options: Callable[..., None],
    store: Store,
) -> MonitorInput:  # fmt: skip
    """60 annotated tasks and a learner, and then the monitor."""
    server.add_tasks([sentence(n)[0] for n in range(N)])
    run_round(make_round(server))
    annotate(server, list(server.tasks)[:60])
    run_round(make_round(server))
    read = monitor_input(make_round, server, store)
    store.monitor.put(5, "ner", run_monitor(read))
    return read


def right_drafts(settings: Settings, store: Store, server: FakeLabelStudio) -> float:
    """The share of the tasks without an annotation whose draft is right."""
    rows = range(60, N)
    tasks = [min(server.tasks) + row for row in rows]
    predicted = Predictor(settings, store).predict(5, CONFIG, tasks, [sentence(row)[0] for row in rows])
    assert all(made.drafts for made in predicted), "there is a learner"
    drafted = [[span[:2] for span in made.drafts["ner"].value] for made in predicted]
    expected = [[name] if (name := sentence(row)[1]) else [] for row in rows]
    return float(np.mean([*map(operator.eq, drafted, expected)]))


def test_the_next_round_reads_words_after_the_chosen_layers(
    monitored: MonitorInput, server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    assert monitored.layers is not None
    choice = stored_choice(store.projects.ensure(5), "fake")
    assert choice is not None and choice.layers == GOOD and choice.labelled == 60
    before, spaces = active(store), sorted(path.name for path in (store.folder / "vectors").glob("*"))
    served = right_drafts(settings, store, server)
    assert served < 0.7, "the learner of the earlier words goes on serving"
    run_round(make_round(server))
    assert active(store).number == before.number + 1
    model = load(store, 5, active(store).learner or 0).by_control["ner"]
    assert model.snapshot.space == f"{spaces[0]}-layers-5"
    assert right_drafts(settings, store, server) > 0.9
    lines = dict(status_lines(read_status(store, 5, settings)))
    assert lines["word layers"].startswith("5 of fake, since ") and "3+4" in lines["word layers"]


def test_layers_are_not_compared_again_before_the_labels_have_quadrupled(
    monitored: MonitorInput, server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    run_round(make_round(server))
    again = monitor_input(make_round, server, store)
    assert again.layers is None
    kept = run_monitor(replace(again, previous=store.projects.ensure(5).monitor_results["ner"]))
    assert tuple(kept["word_layers"]["layers"]) == GOOD


def test_a_learner_that_a_rollback_holds_keeps_its_words(
    server: FakeLabelStudio, fake_encoder: LayeredWordEncoder, make_round: MakeRound, options: Callable[..., None],
    store: Store,
) -> None:  # fmt: skip
    server.add_tasks([sentence(n)[0] for n in range(N)])
    run_round(make_round(server))
    annotate(server, list(server.tasks)[:60])
    run_round(make_round(server))
    store.projects.pin(5, {"ner": 2})
    assert monitor_input(make_round, server, store).layers is None
