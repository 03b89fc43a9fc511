"""A teacher runner that a test steps by hand."""

from __future__ import annotations

from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio
from manual_clock import ManualClock
from projects import set_up
from round_fixtures import MakeRound
from scripted_teacher import ScriptedTeacher

from ml_backend.core.settings import Settings
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.worker.teacher_runner import PAUSE_SECONDS, TeacherRunner


class TeacherHarness:
    """A teacher runner that a test steps by hand. It uses the pool of the rounds."""

    def __init__(
        self, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, teacher: ScriptedTeacher
    ) -> None:
        assert isinstance(store.clock, ManualClock)
        self.clock = store.clock
        self.runner = TeacherRunner(settings, store, LabelAggregators(store))
        self.settings = settings
        self.store, self.server, self.teacher = store, server, teacher
        self.make_round = make_round
        self.context = make_round(server)
        set_up(store, 5, connection={"ml": 1})

    def step(self) -> None:
        self.runner.wake()
        self.clock.sleep(PAUSE_SECONDS)
        self.runner.step({5: self.context.pool})
        assert self.runner.wait(60.0)

    def finish(self) -> None:
        """Steps until nothing is left to ask or to distil."""
        for _ in range(60):
            earlier = self.progress()
            self.step()
            if earlier == self.progress():
                return
        pytest.fail("the runner never finished")

    def progress(self) -> tuple[object, ...]:
        project_row = self.store.projects.ensure(5)
        return (
            len(self.teacher.asked),
            project_row.distillations,
            project_row.label_descriptions,
            project_row.feature_scores,
            project_row.field_overrides,
        )

    def round(self) -> None:
        run_round(self.make_round(self.server))

    def state(self) -> dict[str, Any]:
        return self.store.projects.ensure(5).teacher or {}
