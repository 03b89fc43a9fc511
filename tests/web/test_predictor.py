"""The predictor behind /predict: drafts, and the reads of one request."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, FakeLabelStudio
from projects import remove_rows, set_up
from round_fixtures import MakeRound, active, learn
from schemas import first_of, labelled, only, text_schema
from statements import read_all_annotations
from stats_row import write_stats_row
from stored_models import load_learner

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import Annotation, ModelVersion, TaskContent, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.model.project_model import ProjectModel
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store, Vectors
from ml_backend.storage.schema import confusion, question, stats
from ml_backend.teacher import prompts
from ml_backend.teacher.teacher_labels import expected_labels_of_texts, load_teacher_labels
from ml_backend.web import predictor as predictor_module
from ml_backend.web.predictor import Predictor

TEACHER = "openai:small"
SCHEMA = read_schema(SINGLE)
WAIT_SECONDS = 20


def teach(store: Store, project: int, n: int, wrong: int) -> None:
    """Sets up a project of n annotated tasks with teacher labels, of which the first `wrong` are wrong."""
    set_up(store, project, connection={"ml": 1}, label_config=SINGLE, published="v1", teacher={"name": TEACHER})
    texts = [f"{project} text {task}" for task in range(n)]
    store.tasks.put(project, [TaskContent(task, text, content_key(text)) for task, text in enumerate(texts)])
    keyed_questions = [
        (
            prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text), text, TEACHER),
            content_key(text),
        )
        for text in texts
    ]
    store.questions.add(project, TEACHER, keyed_questions)
    for task, (label_question, _) in enumerate(keyed_questions):
        shares = np.eye(3, dtype=np.float32)[1 if task < wrong else 0]
        store.questions.store_answer(
            project, Answer(label_question.id, {"label": SCHEMA.controls[0].labels[0]}, {"label": shares}), []
        )
    first = 1_000_000 * project
    store.annotations.put(
        project, [Annotation(first + task, task, 1, labelled(SCHEMA.controls[0].labels[0])) for task in range(n)]
    )
    write_stats_row(store, project)


def test_a_teacher_label_counts_in_a_request_as_much_as_in_a_round(store: Store, fake_encoder: FakeEncoder) -> None:
    teach(store, 5, 30, wrong=20)
    pool, texts = ProjectPool(store, 5, fake_encoder), ["5 text 3", "5 text 25", "never seen"]
    pool.refresh(store.projects.require(5).tasks_revision)
    teacher_labels = load_teacher_labels(
        store, TEACHER, SCHEMA.controls[0], pool, 5, only(LabelAggregator(store, 5).refresh(SCHEMA.controls).by_control)
    )
    expected = teacher_labels.of(np.array([3, 25]))
    probabilities = expected_labels_of_texts(store, TEACHER, SCHEMA.controls[0], 5, texts)
    assert np.allclose(probabilities[:2], expected)
    assert np.isnan(probabilities[2]).all()
    assert probabilities[0].argmax() == 0, "it said the second label, and is known to be wrong with that"


@pytest.mark.parametrize("difference", ["another teacher", "no round yet", "other labels"])
def test_a_label_of_a_teacher_without_a_confusion_matrix_counts_as_that_of_an_unknown_teacher(
    store: Store, difference: str, fake_encoder: FakeEncoder
) -> None:
    teach(store, 5, 30, wrong=30)
    teacher, schema = TEACHER, SCHEMA
    if difference == "another teacher":
        set_up(store, 5, teacher={"name": "openai:large"})
        with store.database.begin() as connection:
            connection.execute(sa.update(question).values(teacher="openai:large"))
        teacher = "openai:large"
    elif difference == "no round yet":
        remove_rows(store, 5, stats, confusion)
    else:
        schema = text_schema(SCHEMA.controls[0].labels[::-1])
    probabilities = expected_labels_of_texts(store, teacher, schema.controls[0], 5, ["5 text 3"])[0]
    assert schema.controls[0].labels[int(probabilities.argmax())] == SCHEMA.controls[0].labels[1]
    assert 0.5 < probabilities.max() < 1


def test_a_request_takes_as_many_statements_with_many_annotations_as_with_few(
    settings: Settings, store: Store, fake_encoder: FakeEncoder, statements: list[str]
) -> None:
    teach(store, 5, 20, wrong=0)
    teach(store, 6, 600, wrong=0)
    counts = []
    for project in (5, 6):
        predictor = Predictor(settings, store)
        statements.clear()
        predictor.predict(project, SINGLE, [3], [f"{project} text 3"])
        assert not read_all_annotations(statements)
        statements.clear()
        (prediction,) = predictor.predict(project, SINGLE, [3], [f"{project} text 3"])
        counts.append(len(statements))
        assert only(prediction.drafts).author == "teacher"
    assert counts[0] == counts[1] < 10


def test_the_replies_of_a_text_are_found_by_an_index(store: Store, statements: list[str]) -> None:
    store.questions.replies(5, TEACHER, {content_key("a"), content_key("b")})
    with store.database.read() as connection:
        (text,) = (statement for statement in statements if "question" in statement)
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("x",) * text.count("?")).all())
    assert "question_key" in plan, plan


def test_a_learner_is_read_once_however_many_versions_it_serves(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store,
    single: ProjectSchema, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    loads: list[int] = []
    load = project_model.load

    def count(store: Store, project: int, number: int) -> ProjectModel:
        loads.append(number)
        return load(store, project, number)

    monkeypatch.setattr(project_model, "load", count)
    predictor = Predictor(settings, store)
    (first_prediction,) = predictor.predict(5, SINGLE, [999], ["n1 apple"])
    first = active(store)
    store.versions.add(replace(first, number=9, name="apprentice-9-abcd"), None, rows=0)
    store.versions.activate(5, 9)
    (second_prediction,) = predictor.predict(5, SINGLE, [999], ["n1 apple"])
    assert first_of(first_prediction.drafts) == first_of(second_prediction.drafts)
    assert loads == [2]
    learn(server, taught, single, 10)
    run_round(make_round(server))
    loads.clear()
    predictor.predict(5, SINGLE, [999], ["n1 apple"])
    assert loads == [active(store).learner]


def test_a_new_project_is_not_served_by_the_learner_of_an_earlier_one_with_its_number(
    taught: dict[int, str], settings: Settings, store: Store
) -> None:
    predictor = Predictor(settings, store)
    predictor.predict(5, SINGLE, [999], ["n1 apple"])
    with store.database.begin() as connection:
        connection.execute(sa.text("DELETE FROM version"))
    store.versions.add(ModelVersion(5, 2, "apprentice-2-beef", None, 0, {}, 0.0), None, rows=0)
    store.versions.activate(5, 2)
    (prediction,) = predictor.predict(5, SINGLE, [999], ["n1 apple"])
    assert only(prediction.drafts).author == "teacher"


def test_a_learner_without_training_data_predicts_the_same(
    taught: dict[int, str], store: Store, rng: np.random.Generator
) -> None:
    model = load_learner(store, 5, 2)
    bare = model.without_training_data()
    vectors = rng.standard_normal((4, 32)).astype(np.float32)
    assert np.array_equal(model.predict(SCHEMA.controls[0], vectors), bare.predict(SCHEMA.controls[0], vectors))
    assert bare.snapshot.targets.base is None and bare.snapshot.targets.size == bare.held_out.size == 0


def test_the_learners_of_the_last_requested_projects_stay_in_memory(
    settings: Settings, store: Store, fake_encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(predictor_module, "MAX_SPACES_IN_MEMORY", 3)
    predictor = Predictor(settings, store)
    for project in (1, 2, 3, 1, 4):
        predictor.predict(project, SINGLE, [1], ["apple"])
    assert [project for project, _ in predictor._loaded] == [3, 1, 4]


class SlowStore(Store):
    """Waits for a signal of the test before it opens the vectors of project 5."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.opening, self.may_go_on = threading.Event(), threading.Event()

    def vectors(self, project: int, space: str) -> Vectors:
        if project == 5:
            self.opening.set()
            self.may_go_on.wait(WAIT_SECONDS)
        return super().vectors(project, space)


def test_no_project_waits_for_a_slow_request_of_another_one(settings: Settings, fake_encoder: FakeEncoder) -> None:
    store = SlowStore(settings)
    predictor = Predictor(settings, store)
    threads = {
        project: threading.Thread(target=predictor.predict, args=(project, SINGLE, [1], ["apple"]))
        for project in (5, 6)
    }
    threads[5].start()
    assert store.opening.wait(WAIT_SECONDS)
    threads[6].start()
    threads[6].join(WAIT_SECONDS)
    waited = threads[6].is_alive()
    store.may_go_on.set()
    for thread in threads.values():
        thread.join(WAIT_SECONDS)
    store.close()
    assert not waited


def test_a_text_that_cannot_be_encoded_gets_no_draft_and_the_others_do(
    settings: Settings, store: Store, fake_encoder: FakeEncoder
) -> None:
    fake_encoder.useless = {"iron"}
    predictions = Predictor(settings, store).predict(5, SINGLE, [1, 2, 3], ["apple", "iron", "cow"])
    assert [bool(first_of(prediction.drafts)) for prediction in predictions] == [True, False, True]
