"""Fixtures and helpers for tests of rounds: a project with a learner, and its queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks, submit_labels

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.storage import Store

MakeRound = Callable[..., RoundContext]


@pytest.fixture
def options(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_options(**values: Any) -> None:
        settings.defaults = settings.defaults.model_copy(update=values)

    set_options(queue_size=12, audit_share=0.0)
    return set_options


def active(store: Store) -> ModelVersion:
    version = store.versions.active(5)
    assert version is not None
    return version


def queue(server: FakeLabelStudio) -> list[int]:
    """Returns the tasks in the order in which Label Studio would serve them."""
    return [
        prediction["task"]
        for prediction in sorted(server.current_predictions(), key=lambda prediction: prediction["score"])
    ]


def learn(server: FakeLabelStudio, truth: dict[int, str], schema: ProjectSchema, n: int) -> list[int]:
    """Submits the right label of n tasks without an annotation. Returns the tasks."""
    tasks = [task for task in truth if not server.tasks[task]["annotations"]][:n]
    submit_labels(server, truth, schema, tasks)
    return tasks


@pytest.fixture
def taught(
    server: FakeLabelStudio, make_round: MakeRound, options: object, single: ProjectSchema, store: Store
) -> dict[int, str]:
    """A project of 90 tasks whose second version has a learner, fitted on 30 right labels."""
    truth = add_labelled_tasks(server, 90)
    run_round(make_round(server))
    learn(server, truth, single, 30)
    run_round(make_round(server))
    assert active(store).learner == 2
    return truth
