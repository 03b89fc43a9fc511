"""A worker's dealings with a teacher, moved on by the test: what the tests of teaching share."""

from __future__ import annotations

from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio
from projects import set_up
from rounds import MakeRound
from scripted_teacher import ScriptedTeacher

from ml_backend.core.settings import Settings
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.worker.teacher_runner import TeacherRunner


class School:
    """The dealings of a worker with a teacher, moved on by the test; its pool is that of the rounds."""

    def __init__(
        self, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, teacher: ScriptedTeacher
    ) -> None:
        self.teaching = TeacherRunner(settings, store, LabelAggregators(store))
        self.store, self.server, self.teacher = store, server, teacher
        self.make_round = make_round
        self.work = make_round(server)
        set_up(store, 5, connection={"ml": 1})

    def step(self) -> None:
        self.teaching._not_before = 0.0
        self.teaching.step({5: self.work.pool})
        if self.teaching._running:
            self.teaching._running.join()

    def finish(self) -> None:
        """Until nothing is left to ask or to distil."""
        for _ in range(60):
            before = self.come_to()
            self.step()
            if before == self.come_to():
                return
        pytest.fail("it never came to an end")

    def come_to(self) -> tuple[object, ...]:
        record = self.store.projects.ensure(5)
        return len(self.teacher.asked), record.prior, record.cues, record.features

    def round(self) -> None:
        run_round(self.make_round(self.server))

    def state(self) -> dict[str, Any]:
        return self.store.projects.ensure(5).teacher or {}
