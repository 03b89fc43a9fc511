"""What rounds and the monitor store has codes and names and no sentences: the rendering layer makes those."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
from fake_label_studio import WORDS, FakeLabelStudio
from projects import set_up
from round_fixtures import MakeRound, active

from ml_backend.core import registry
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import EstimateSource
from ml_backend.evaluation import random_baseline, stopping
from ml_backend.loop.round import run_round
from ml_backend.monitoring.coverage import REQUEUE_FOR_ME, REQUEUE_FOR_OTHERS
from ml_backend.monitoring.monitor import read_monitor_input, run_monitor
from ml_backend.rendering.remarks_text import REMARKS
from ml_backend.storage import Store

CODES = {*EstimateSource, *get_args(stopping.Verdict), *get_args(random_baseline.Verdict), *REMARKS}
CODES |= {REQUEUE_FOR_ME, REQUEUE_FOR_OTHERS, "no field", "left out", "", *registry.installed("kind")}


def strings(value: Any) -> Iterator[str]:
    """All strings of a JSON value but the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings(item))


def test_a_round_and_the_monitor_store_no_sentences(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema
) -> None:
    context = make_round(server)
    run_round(context)
    options = ProjectSettings(group_by="field", second_look=5)
    project_row = store.projects.require(5)
    monitor_input = read_monitor_input(
        store, context.pool, context.aggregator, project_row, single.controls[0], options
    )
    assert monitor_input is not None
    monitor_input.audited[:] = np.arange(len(monitor_input.audited)) % 6 > 0
    result = run_monitor(monitor_input)
    set_up(store, 5, monitor_result=result)
    stored = [result, store.stats.document(5), asdict(active(store))]
    names = {*WORDS, "field", options.acquisition, active(store).name, active(store).acquisition}
    found = set(strings(json.loads(json.dumps(stored)))) - names
    assert found <= CODES, found - CODES
    assert len(found) > 3
