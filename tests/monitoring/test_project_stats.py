"""The stats row that a round writes equals the numbers computed from all data, and reading it costs little."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import pytest
from draft_acceptance_reference import pairs, received, saved
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, FakeLabelStudio
from projects import remove_rows, set_up, synthetic_tasks
from round_fixtures import MakeRound, active, learn
from schemas import CONTROL, by_control, labelled, only
from statements import read_all_annotations
from stats_row import write_stats_row
from stored_models import load_learner

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import (
    SYNTHETIC_FIELD,
    Annotation,
    Draft,
    EstimateSource,
    Prediction,
    TaskContent,
    content_key,
)
from ml_backend.kinds.aggregation import aggregate_annotations
from ml_backend.kinds.lookup import fit_properties
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.labels.draft_acceptance import agreement, learner_agreement, learner_draft_share
from ml_backend.loop.round import run_round
from ml_backend.monitoring import project_stats
from ml_backend.monitoring.prometheus import Metrics
from ml_backend.monitoring.status import read_status
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store, schema
from ml_backend.teacher import prompts

SCHEMA = read_schema(SINGLE)
TEACHER = "openai:small"
AUTHORS: tuple[Literal["learner", "teacher"] | None, ...] = ("teacher", "learner", None)


def text_of(task: int) -> str:
    return f"text {task}"


def draw_probabilities(random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(np.eye(3, dtype=np.float32)[random.integers(3)] * np.float32(0.8) + np.float32(0.1))


def fill_by_hand(store: Store, n: int, teacher_labels: int = 0, project: int = 5) -> dict[int, Any]:
    """A project of n tasks, most of them annotated and published; returns the teacher's probabilities by task.

    The teacher has labelled the first `teacher_labels` tasks, and written every seventh.
    """
    random = np.random.default_rng(n)
    set_up(
        store,
        project,
        connection={"ml": 1},
        label_config=SINGLE,
        published="v2",
        teacher={"name": TEACHER, "model": "small"},
    )
    fields = {task: {SYNTHETIC_FIELD: "hard"} if task % 7 == 0 else {} for task in range(1, n + 1)}
    store.tasks.put(
        project, [TaskContent(task, text_of(task), content_key(text_of(task)), fields[task]) for task in fields]
    )
    for version, tasks in (("v1", range(1, n // 2)), ("v2", range(n // 2, n + 1))):
        queue = []
        for task in tasks:
            author = AUTHORS[random.integers(3)]
            draft = Draft((SCHEMA.controls[0].labels[random.integers(3)],), 0.5, author) if author else None
            queue.append(Prediction(task, 0.1, by_control(draft)))
        store.published_drafts.put(project, version, queue)
    probabilities = {}
    for task in range(1, teacher_labels + 1):
        question = prompts.label_question(
            prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text_of(task)), text_of(task), TEACHER
        )
        store.questions.add(project, TEACHER, [(question, content_key(text_of(task)))])
        probabilities[task] = draw_probabilities(random)
        store.questions.store_answer(
            project, Answer(question.id, {"label": "fruit"}, {"label": probabilities[task]}), []
        )
    annotations = []
    for number, task in enumerate(random.integers(1, n + 1, n).tolist()):
        label = SCHEMA.controls[0].labels[random.integers(3)]
        seconds = float(random.integers(1, 900))
        time = f"2026-01-01T00:00:{number % 60:02}"
        annotations.append(
            Annotation(number + 1, task, number % 3, labelled(label), number % 11 == 0, False, time, seconds)
        )
    store.annotations.put(project, annotations)
    return probabilities


def test_the_document_equals_the_numbers_computed_from_all_data(store: Store) -> None:
    probabilities = fill_by_hand(store, 120, teacher_labels=60)
    aggregator = LabelAggregator(store, 5)
    write_stats_row(store, 5, aggregator)
    first = store.annotations.of(5)[0]
    store.annotations.put(5, [Annotation(first.id, first.task, 1, labelled("metal"), updated_at="2027", lead_time=3.0)])
    store.annotations.delete(5, [5, 6, 7])
    store.published_drafts.put(5, "v2", [Prediction(3, 0.1, by_control(Draft(("fruit",), 0.5, "learner")))])
    write_stats_row(store, 5, aggregator)  # brought up to date, where the rest of this test begins anew

    annotations, published = store.annotations.of(5), store.published_drafts.of(5)
    synthetic = np.array(synthetic_tasks(store, 5))
    aggregated = aggregate_annotations(SCHEMA.controls[0], annotations)
    evaluated = aggregated.without_tasks(synthetic)
    both = [task for task in evaluated.tasks.tolist() if task in probabilities]
    teacher_labels = np.array([probabilities[task] for task in both])
    targets = evaluated.targets[[evaluated.tasks.tolist().index(task) for task in both]]
    teacher = agreement(teacher_labels, targets, SCHEMA.controls[0], EstimateSource.TEACHER_LABELS)
    annotated = [pair for pair in pairs(published, annotations) if pair[0].task not in set(synthetic.tolist())]
    share = learner_draft_share(store.published_drafts.of(5, "v2"), CONTROL)

    document = store.stats.document(5)
    assert (document["labelled"], document["tasks"]) == (len(aggregated.tasks), 120)
    report = document["controls"]["label"]["teacher"]
    assert report["served"] == len(published)
    assert report["drafts"] == {author: asdict(acceptance) for author, acceptance in received(annotated).items()}
    assert document["saved"] == asdict(saved(annotated))
    assert report["share"] == (asdict(share) if share else None)
    assert report["agreement"]["teacher"] == {
        "overall": asdict(teacher.overall) if teacher.overall else None,
        "by_class": {label: asdict(estimate) for label, estimate in teacher.by_class.items()},
    }
    assert all(report["drafts"][author]["accepted"] for author in ("teacher", "learner")), "the test says something"


def test_the_learners_numbers_are_those_of_the_serving_version(
    taught: dict[int, str], store: Store, server: FakeLabelStudio
) -> None:
    learner = load_learner(store, 5, 2)
    expected = learner_agreement(learner, SCHEMA.controls[0], np.empty(0, np.int64))
    report = store.stats.document(5)["controls"]["label"]["teacher"]
    assert expected.overall is not None
    assert report["agreement"]["learner"]["overall"] == asdict(expected.overall)
    assert (report["started_from"], report["priors"]) == (learner.started_from, dict(learner.prior_errors))
    assert store.stats.document(5)["labelled"] == 30


@pytest.mark.parametrize("read", ["status", "scrape"])
def test_reading_takes_as_many_statements_with_many_annotations_as_with_few(
    store: Store, statements: list[str], read: str
) -> None:
    counts = []
    for n in (100, 10_000):
        store.forget(5)
        fill_by_hand(store, n, teacher_labels=20)
        write_stats_row(store)
        statements.clear()
        if read == "status":
            assert read_status(store, 5).labelled > n / 2
        else:
            Metrics(store).render()
        assert not [text for text in statements if "FROM annotation" in text or "FROM shown" in text]
        counts.append(len(statements))
    assert counts[0] == counts[1] < 25


def test_a_round_without_anything_new_does_not_write_the_document(
    taught: dict[int, str], store: Store, server: FakeLabelStudio, make_round: MakeRound, statements: list[str]
) -> None:
    assert run_round(make_round(server)) is None
    assert not [text for text in statements if "INTO stats" in text]
    assert store.stats.document(5)["labelled"] == 30


def test_a_teacher_label_alone_changes_the_document_at_the_next_round(store: Store) -> None:
    fill_by_hand(store, 40, teacher_labels=5)
    write_stats_row(store)
    before = store.stats.inputs_digest(5)
    question = prompts.label_question(
        prompts.LabelPrompt([SCHEMA.controls[0]]), content_key("text 9"), "text 9", TEACHER
    )
    store.questions.add(5, TEACHER, [(question, content_key("text 9"))])
    store.questions.store_answer(
        5, Answer(question.id, {"label": "fruit"}, {"label": np.eye(3, dtype=np.float32)[0]}), []
    )
    write_stats_row(store)
    assert store.stats.inputs_digest(5) != before


def test_a_queue_that_the_round_published_is_counted(
    taught: dict[int, str], store: Store, server: FakeLabelStudio, make_round: MakeRound, single: ProjectSchema
) -> None:
    learn(server, taught, single, 5)
    run_round(make_round(server))
    document = store.stats.document(5)
    assert document["labelled"] == 35
    queue = store.published_drafts.of(5, active(store).name)
    assert document["controls"]["label"]["teacher"]["share"]["n"] == len([row for row in queue if row.drafts])


def test_a_store_without_a_document_still_has_a_status(
    taught: dict[int, str], store: Store, server: FakeLabelStudio
) -> None:
    set_up(store, 5, connection={"ml": 1})
    remove_rows(store, 5, schema.stats, schema.confusion)
    status = read_status(store, 5)
    assert (status.labelled, status.pool, only(status.controls).teacher) == (30, 60, {})
    set_up(store, 5, teacher={"name": TEACHER, "problem": "no key"})
    status = read_status(store, 5)
    assert dict(status_lines(status))["teacher trouble"] == "no key"
    assert only(status.controls).teacher["drafts"]["learner"] == {"accepted": 0, "edited": 0, "replaced": 0}
    assert b'apprentice_labelled{project="5"} 30.0' in Metrics(store).render()


def test_tasks_that_were_added_after_the_round_are_counted(
    taught: dict[int, str], store: Store, server: FakeLabelStudio
) -> None:
    assert read_status(store, 5).pool == 60
    store.tasks.put(5, [TaskContent(999, "new", content_key("new"))])
    assert read_status(store, 5).pool == 61


def test_a_forgotten_project_leaves_no_document(store: Store) -> None:
    fill_by_hand(store, 20, teacher_labels=10)
    write_stats_row(store)
    assert store.stats.document(5) and store.stats.inputs_digest(5) and store.stats.reliability(5, CONTROL)
    store.forget(5)
    assert (store.stats.document(5), store.stats.inputs_digest(5)) == ({}, "")
    assert store.stats.reliability(5, CONTROL) is None


def test_the_document_is_stored_on_either_database(any_store: Store) -> None:
    fill_by_hand(any_store, 20, teacher_labels=10)
    write_stats_row(any_store)
    write_stats_row(any_store)
    assert any_store.stats.document(5)["tasks"] == 20
    reliability = any_store.stats.reliability(5, CONTROL)
    assert reliability is not None
    assert (reliability.teacher, reliability.properties) == (TEACHER, fit_properties(SCHEMA.controls[0]))
    assert np.allclose(reliability.values.sum(axis=1), 1)


def test_tasks_that_are_removed_during_a_round_are_counted_by_the_next_one(store: Store) -> None:
    fill_by_hand(store, 12)
    project_row, aggregator = store.projects.require(5), LabelAggregator(store, 5)
    pool = ProjectPool(store, 5, FakeEncoder())
    pool.refresh(project_row.tasks_revision)
    store.tasks.remove(5, [12])
    project_stats.update(store, project_stats.StatsInputs(5, SCHEMA, pool, aggregator))
    pool.refresh(store.projects.require(5).tasks_revision)
    project_stats.update(store, project_stats.StatsInputs(5, SCHEMA, pool, aggregator))
    assert project_stats.read(store, 5)["tasks"] == 11


def test_a_scrape_reads_no_annotations_even_before_the_first_round(store: Store, statements: list[str]) -> None:
    fill_by_hand(store, 12)
    statements.clear()
    assert b"apprentice_labelled" in Metrics(store).render()

    assert statements and not read_all_annotations(statements)
