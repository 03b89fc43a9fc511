"""How drafts were received, against counting by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_label_studio import SINGLE
from projects import set_up
from stats_row import measure

from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import Annotation, Example, TaskSchema, content_key
from ml_backend.evaluation.metrics import wilson
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import (
    BREAK,
    FEWEST,
    Agreement,
    DraftAcceptance,
    agreement,
    learners_share,
    of_learner,
)
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.storage import PublishedDraft, Store
from ml_backend.teacher import prompts

SCHEMA = TaskSchema(("fruit", "metal", "animal"), False, "c", "t", "text")


def shown(task: int, author: str | None, *choices: str) -> PublishedDraft:
    return PublishedDraft(task, "v1", 0, author, choices, 0.5 if author else None)


def answer(task: int, *choices: str, number: int = 0, seconds: float | None = None, skip: bool = False) -> Annotation:
    return Annotation(number or task, task, 1, choices, skip, lead_time=seconds)


def reception(*answered: tuple[PublishedDraft, Annotation]) -> AcceptanceCounts:
    """Of some tasks, each with what was shown of it and its answer."""
    found = AcceptanceCounts()
    for draft, given in answered:
        found.update(draft.task, draft, [given])
    return found


def test_a_draft_is_accepted_edited_or_replaced_and_counts_for_its_author() -> None:
    found = reception(
        (shown(1, "teacher", "fruit"), answer(1, "fruit")),
        (shown(2, "teacher", "fruit"), answer(2, "metal")),
        (shown(3, "learner", "fruit", "metal"), answer(3, "metal", "fruit")),
        (shown(4, "learner", "fruit", "metal"), answer(4, "fruit")),
        (shown(5, "learner", "fruit"), answer(5, "fruit", "metal")),
        (shown(6, "learner"), answer(6)),
        (shown(7, "learner", "fruit"), answer(7)),
        (shown(8, None), answer(8, "fruit")),
    )
    received, _ = found.without(())
    assert received == {"teacher": DraftAcceptance(1, 0, 1), "learner": DraftAcceptance(2, 2, 1)}


def test_an_answer_that_could_not_be_read_says_nothing_of_its_draft() -> None:
    unread = replace(answer(1, "obst"), unread="label")
    received, _ = reception((shown(1, "teacher", "fruit"), unread)).without(())
    assert received == {"teacher": DraftAcceptance(), "learner": DraftAcceptance()}


def test_the_first_answer_that_stands_is_the_one_in_sight_of_the_draft() -> None:
    found = AcceptanceCounts()
    answers = [answer(1, "metal", number=30), answer(1, number=10, skip=True), answer(1, "fruit", number=20)]
    found.update(1, shown(1, "teacher", "fruit"), answers)
    found.update(2, shown(2, "teacher", "fruit"), [answer(2, number=40, skip=True)])
    found.update(3, shown(3, "teacher", "fruit"), [])
    received, _ = found.without(())
    assert received["teacher"] == DraftAcceptance(accepted=1)


def test_time_saved_is_the_difference_of_the_medians_for_each_accepted_draft() -> None:
    blind = [(shown(n, None), answer(n, "fruit", seconds=n + 10.0)) for n in range(1, 6)]  # 11 to 15, the median 13
    accepted = [(shown(n, "learner", "fruit"), answer(n, "fruit", seconds=n - 10.0)) for n in range(11, 17)]  # 1 to 6
    away = [
        (shown(20, None), answer(20, "fruit", seconds=BREAK + 1)),
        (shown(21, "learner", "fruit"), answer(21, "fruit", seconds=None)),
        (shown(22, "learner", "fruit"), answer(22, "fruit", seconds=0.0)),
        (shown(23, "learner", "fruit"), answer(23, "metal", seconds=60.0)),
    ]
    _, found = reception(*blind, *accepted, *away).without(())
    assert (found.accepted, found.timed, found.blind) == (8, 6, 5)
    assert (found.median_accepted, found.median_blind) == (3.5, 13.0)
    assert found.seconds == pytest.approx(8 * (13 - 3.5))
    _, found = reception(*((each, replace(given, lead_time=1.0)) for each, given in blind), *accepted).without(())
    assert found.seconds == -2.5 * 6


@pytest.mark.parametrize("short", ["blind", "accepted"])
def test_of_few_answers_no_time_is_told_but_how_many_there_are(short: str) -> None:
    counts = {"blind": FEWEST, "accepted": FEWEST, short: FEWEST - 1}
    blind = [(shown(n, None), answer(n, "fruit", seconds=2.0)) for n in range(counts["blind"])]
    accepted = [
        (shown(n, "teacher", "fruit"), answer(n, "fruit", seconds=1.0)) for n in range(100, 100 + counts["accepted"])
    ]
    _, found = reception(*blind, *accepted).without(())
    assert (found.seconds, found.timed, found.blind) == (None, counts["accepted"], counts["blind"])
    _, nothing = reception().without(())
    assert nothing.median_blind is None


def test_the_learners_share_is_of_the_drafts_not_of_the_audited_places() -> None:
    found = learners_share([shown(1, "learner"), shown(2, None), shown(3, "teacher"), shown(4, "learner")])
    assert found is not None and (found.value, found.n) == (2 / 3, 3)
    assert learners_share([shown(2, None)]) is None


def test_agreement_by_class_is_of_the_tasks_to_which_the_annotators_gave_that_label() -> None:
    said = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.4, 0.6, 0]], np.float32)
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0.5, 0.5, 0]], np.float32)  # the last one a tie
    found = agreement(said, targets, SCHEMA.labels, False, "these")
    assert found.overall == wilson(3, 4, "these")
    assert found.by_class == {"fruit": wilson(1, 2, "these"), "metal": wilson(2, 3, "these")}


def test_with_several_choices_a_label_too_many_is_no_agreement_on_that_label() -> None:
    said = np.array([[0.9, 0.9, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]], np.float32)
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0.5]], np.float32)  # of the last one, annotators are split
    found = agreement(said, targets, SCHEMA.labels, True, "these")
    assert found.overall == wilson(2, 3, "these"), "split annotators accept both"
    assert found.by_class == {"fruit": wilson(1, 1, "these"), "metal": wilson(1, 2, "these")}


def test_the_teacher_agrees_by_all_its_labels_of_answered_tasks_the_latest_of_each(store: Store) -> None:
    texts = {1: "one", 2: "two", 3: "two", 4: "four", 5: "five"}
    store.tasks.put(5, [Example(task, text, content_key(text)) for task, text in texts.items()])
    set_up(store, 5, label_config=SINGLE)
    replies = [("one", "scripted", "metal"), ("one", "scripted", "fruit"), ("two", "scripted", "metal"),
               ("four", "another", "metal"), ("five", "scripted", "metal")]  # fmt: skip
    for number, (text, teacher, label) in enumerate(replies):
        asked = replace(prompts.label(SCHEMA, content_key(text), text, teacher, {}), id=f"q{number}")
        store.questions.want(5, teacher, [(asked, content_key(text))])
        shares = np.array([label == each for each in SCHEMA.labels], np.float32)
        store.questions.record(5, Answer(asked.id, {"label": label}, shares), [])

    def agreed(teacher: str) -> Any:
        set_up(store, 5, teacher={"name": teacher})
        measure(store)
        return store.stats.document(5)["teacher"]["agreement"]["teacher"]

    assert agreed("scripted") == {"overall": None, "by_class": {}}
    store.labels.put(5, [answer(1, "fruit"), answer(2, "metal"), answer(3, "fruit"), answer(4, "metal")])
    found = agreed("scripted")
    assert (found["overall"]["value"], found["overall"]["n"]) == (2 / 3, 3)
    assert {label: (share["value"], share["n"]) for label, share in found["by_class"].items()} == {
        "fruit": (0.5, 2), "metal": (1.0, 1),
    }  # fmt: skip
    assert agreed("nobody") == {"overall": None, "by_class": {}}


def test_the_learner_agrees_by_what_it_said_unseen() -> None:
    nothing = np.empty(0, np.int64)
    assert of_learner(None, nothing) == Agreement()
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    lesson = TrainingSnapshot("logistic", "fake", SCHEMA.labels, False, np.arange(3), b"", targets)
    held_out = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    known = FittedModel(1, lesson, {"weight": np.eye(3)}, held_out, "labels", {"none": 1.0, "labels": 0.5})
    found = of_learner(known, nothing)
    assert found.overall is not None and (found.overall.value, found.overall.n) == (2 / 3, 3)
    assert (found.by_class["metal"].value, found.by_class["fruit"].value) == (0.0, 1.0)
    apart = of_learner(known, np.array([1]))
    assert apart.overall is not None and (apart.overall.value, apart.overall.n) == (1.0, 2)
