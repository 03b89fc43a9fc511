"""A project of spans whose learner errs, and rounds of EvoKD on it: what the tests of evolve on spans share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from authors import SpanAuthor
from fake_label_studio import FakeLabelStudio
from plugin_overrides import UseTeacher
from projects import set_up
from round_fixtures import MakeRound
from span_project import NAMES, add_tasks, annotate, result, sentence

from ml_backend.loop.round import run_round
from ml_backend.storage import Store


@pytest.fixture
def teacher(use_teacher: UseTeacher) -> SpanAuthor:
    author = SpanAuthor()
    use_teacher(author)
    return author


@pytest.fixture
def confused(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store, teacher: SpanAuthor,
    fake_encoder: object,
) -> FakeLabelStudio:  # fmt: skip
    """A project of 90 tasks, 60 annotated, in four which the name is marked as a place: the learner errs."""
    options(queue_size=12, audit_share=0.0, synthetic_share=0.2)
    add_tasks(server, 90)
    set_up(store, 5, connection={"ml": 1})
    run_round(make_round(server))
    tasks = list(server.tasks)[:60]
    odd = tasks[0:48:12]
    annotate(server, [task for task in tasks if task not in odd])
    for task in odd:
        text, spans = sentence(task - min(server.tasks))
        server.annotate_with(task, result(text, [(part, "Place") for part, _ in spans]))
        assert spans[0][0] in NAMES
    run_round(make_round(server))
    return server
