"""A worker and a teacher runner of project 5 that tests step by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeLabelStudio
from plugin_overrides import UseTeacher
from round_fixtures import MakeRound
from scripted_teacher import ScriptedTeacher
from teacher_harness import TeacherHarness
from worker_harness import WorkerHarness

from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.storage import Store


@pytest.fixture
def harness(
    make_settings: Callable[..., Settings],
    server: FakeLabelStudio,
    fake_encoder: FakeEncoder,
) -> Iterator[WorkerHarness]:
    settings = make_settings(
        label_studio_api_key="key", defaults=ProjectSettings(queue_size=10, audit_share=0), keep_versions=2
    )
    harness = WorkerHarness(settings, server)
    yield harness
    harness.store.close()


@pytest.fixture
def teacher(use_teacher: UseTeacher) -> ScriptedTeacher:
    scripted = ScriptedTeacher()
    use_teacher(scripted)
    return scripted


@pytest.fixture
def teacher_harness(
    taught: dict[int, str], settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound,
    teacher: ScriptedTeacher, options: Any,
) -> TeacherHarness:  # fmt: skip
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20)
    harness = TeacherHarness(settings, store, server, make_round, teacher)
    harness.step()  # what the labels' names say is learnt before anybody is asked
    return harness
