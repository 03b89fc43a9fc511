"""Several labels may hold: the embedded teacher drafts until the learner of few annotations does as well."""

from __future__ import annotations

import pytest
from fake_label_studio import WORDS, FakeLabelStudio, config_with, text_about
from round_fixtures import MakeRound, active, queue

from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Store

NAMES = {"fruit": "apple pear plum", "metal": "iron copper zinc", "animal": "dog cat horse"}
"""Names of the labels whose words are in the texts, so that the embedded teacher is right."""


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(label_config=config_with(*NAMES.values(), multiple=True))


def authors(server: FakeLabelStudio) -> set[str]:
    """The authors of the drafts in the published queue."""
    reasons = [row["result"][0]["meta"]["text"][0] for row in server.current_predictions() if row["result"]]
    return {reason.partition("'s draft")[0] for reason in reasons}


def test_the_embedded_teacher_drafts_as_long_as_the_learner_is_worse_on_the_annotated_tasks(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    labels = [*NAMES]
    server.add_tasks([f"{NAMES[labels[n % 3]]} n{n}" for n in range(60)])
    tasks = [*server.tasks]
    for task in tasks[:3]:
        server.annotate(task, NAMES[labels[tasks.index(task) % 3]])
    run_round(make_round(server))
    version = active(store)
    assert version.learner is not None, "it orders the queue"
    assert authors(server) == {"teacher"} and "embedded teacher" in remarks_text(version.remarks)
    assert project_model.load(store, 5, version.learner).by_control["label"].is_doubted
    for task in tasks[3:40]:
        server.annotate(task, NAMES[labels[tasks.index(task) % 3]])
    run_round(make_round(server))
    assert authors(server) == {"learner"} and "embedded teacher" not in remarks_text(active(store).remarks)
    assert len(queue(server)) == 12


def test_a_learner_that_does_as_well_as_the_embedded_teacher_drafts_from_the_beginning(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    server.label_config = config_with("a", "b", "c", multiple=True)
    labels = [*WORDS]
    server.add_tasks([text_about(labels[n % 3], n) for n in range(60)])
    for place, task in enumerate([*server.tasks][:30]):
        server.annotate(task, "abc"[place % 3])
    run_round(make_round(server))
    assert authors(server) == {"learner"}
