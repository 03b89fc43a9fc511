"""A project whose learner errs, and rounds of EvoKD on it with a teacher that writes from a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from authors import Author
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks, submit_labels
from plugin_overrides import UseTeacher
from projects import set_up
from round_fixtures import MakeRound

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskContent
from ml_backend.label_studio.generated_tasks import import_generated_texts
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import TASKS
from ml_backend.teacher.project_context import load_project_context


@pytest.fixture
def teacher(use_teacher: UseTeacher) -> Author:
    author = Author()
    use_teacher(author)
    return author


@pytest.fixture
def confused(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], single: ProjectSchema, store: Store,
    teacher: Author,
) -> FakeLabelStudio:  # fmt: skip
    """A project of 120 tasks, 60 answered, of which four animals are called metals: the learner errs on those."""
    options(queue_size=12, audit_share=0.0, synthetic_share=0.2)
    truth = add_labelled_tasks(server, 120)
    set_up(store, 5, connection={"ml": 1})
    run_round(make_round(server))
    answered = list(truth)[:60]
    odd = [task for task in answered if truth[task] == "animal"][:4]
    submit_labels(server, truth, single, [task for task in answered if task not in odd])
    for task in odd:
        server.annotate(task, "metal")
    run_round(make_round(server))
    return server


@pytest.fixture
def evolving(confused: FakeLabelStudio, settings: Settings, store: Store) -> Callable[..., EvolutionRun]:
    client = FakeClient(confused)

    def make(way: str = TASKS, per_round: int = 6) -> EvolutionRun:
        context = load_project_context(settings, store, 5)

        def send(texts: Mapping[str, str], since: str) -> Sequence[TaskContent]:
            return import_generated_texts(client, 5, context.schema.input, texts, since)

        return EvolutionRun(context, context.teacher_client(), way, per_round, send)

    return make
