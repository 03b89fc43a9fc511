"""Rounds of a project with a teacher end: without events there is a last one, whatever the teacher replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from fake_label_studio import MULTIPLE, SINGLE, FakeLabelStudio, add_labelled_tasks, submit_labels
from plugin_overrides import UseTeacher
from round_fixtures import MakeRound, queue
from scripted_teacher import ScriptedTeacher
from teacher_harness import TeacherHarness

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.teacher import distillation

MOST_ROUNDS = 12
"""Rounds after one event: for drafts of the teacher, its cues, its distilled labels, and their consequences."""


class RandomTeacher(ScriptedTeacher):
    """Replies rightly, wrongly or not at all, with random certainty. The seed and the question determine the reply."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            random = np.random.default_rng([self._seed, *question.id.encode()])
            if random.random() < 0.1:
                self.asked.append(question)
                yield Answer(question.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")
            else:
                self.says = str(random.choice(["fruit", "metal", "animal"])) if random.random() < 0.3 else ""
                self.sure = float(random.uniform(0.4, 1.0))
                yield from super().answer([question])


def come_to_rest(teacher_harness: TeacherHarness, store: Store) -> int:
    """Does all pending work of a worker. Returns the number of rounds that published. Fails if it does not end."""
    rounds = 0
    while rounds <= MOST_ROUNDS:
        before = teacher_harness.progress()
        if lease := store.jobs.claim("worker"):
            rounds += run_round(teacher_harness.make_round(teacher_harness.server)) is not None
            store.jobs.finish(lease)
        teacher_harness.step()
        if teacher_harness.progress() == before and not store.jobs.state(5).waiting:
            return rounds
    pytest.fail(f"{rounds} rounds without an event, and no end")


@pytest.mark.parametrize("seed", range(6))
def test_without_events_no_project_requests_rounds_for_ever_whatever_its_teacher_answers(
    seed: int, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, single: ProjectSchema,
    options: Callable[..., None], use_teacher: UseTeacher, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    teacher = RandomTeacher(seed)
    if seed % 4:
        use_teacher(teacher)
    options(
        queue_size=int(random.integers(1, 70)),
        audit_share=float(random.choice([0.0, 0.2])),
        teacher_ahead=int(random.choice([0, 5, 20])),
        teacher_labels=int(random.choice([0, 10, 500])),
        acquisition=str(random.choice(["cluster-uncertainty", "random", "badge", "margin"])),
    )
    server.label_config = SINGLE if seed % 3 else MULTIPLE
    if seed % 2:  # nothing that a teacher has taught is started from
        monkeypatch.setattr(distillation, "load_priors", lambda *_: distillation.Priors({}, "", np.empty(0, np.uint64)))
    truth = add_labelled_tasks(server, 60)
    teacher_harness = TeacherHarness(settings, store, server, make_round, teacher)
    store.jobs.request_unless_waiting(5)
    come_to_rest(teacher_harness, store)
    for answered in (1, 20, 60):
        tasks = [task for task in queue(server) or truth if task in truth and not server.tasks[task]["annotations"]]
        submit_labels(server, truth, single, tasks[:answered])
        store.jobs.request_unless_waiting(5)
        come_to_rest(teacher_harness, store)
    versions = len(store.versions.all(5))
    for _ in range(3):
        store.jobs.request_unless_waiting(5)
        assert come_to_rest(teacher_harness, store) == 0
    assert len(store.versions.all(5)) == versions > 3
