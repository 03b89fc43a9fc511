"""Scores of a table's fields: the teacher estimates them three times, annotations check them, people edit them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio, submit_labels
from patient_records import TABLE, add_patients
from plugin_overrides import UseTeacher
from projects import set_up
from round_fixtures import MakeRound, active
from schemas import first_of
from scripted_teacher import ScriptedTeacher
from stored_models import load_best_learner
from teacher_harness import TeacherHarness

from ml_backend.core import registry
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.label_studio.label_config import read_schema
from ml_backend.monitoring.status import read_status
from ml_backend.pool import feature_space
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.teacher import batch_files
from ml_backend.teacher.batch_files import BatchExport
from ml_backend.teacher.descriptions import description_prompts, feature_scores

SCHEMA = read_schema(TABLE)


class PatientTeacher(ScriptedTeacher):
    """Gives the scores by which patients are labelled, with small variations. `sign`: -1 if it confuses yes and no."""

    def __init__(self, sign: int = 1) -> None:
        super().__init__(says="yes", sure=0.8)
        self.sign = sign

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            if question.purpose != "describe":
                yield from super().answer([question])
                continue
            self.asked.append(question)
            variation = len(self.texts("describe")) % 2
            field_scores: list[tuple[str, str, int]] = [
                ("age", "", 8), ("smoker", "", 5 + variation), ("city", "Bergen", 4), ("city", "Oslo", -4),
                ("noise", "", 0), ("shoes", "", 9),
            ]  # fmt: skip
            scores = [
                {"label": "yes", "field": field, "value": value, "score": self.sign * score}
                for field, value, score in field_scores
            ]
            yield Answer(question.id, {"scores": scores}, None, (Call("m", 0.1, 100, 10, "answered"),))


@pytest.fixture
def patient_teacher(use_teacher: UseTeacher) -> PatientTeacher:
    patient_teacher = PatientTeacher()
    use_teacher(patient_teacher)
    return patient_teacher


@pytest.fixture
def clinic(
    settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, patient_teacher: PatientTeacher,
    options: Callable[..., None],
) -> tuple[TeacherHarness, dict[int, str]]:  # fmt: skip
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=10)
    server.label_config = TABLE
    truth = add_patients(server, 120)
    teacher_harness = TeacherHarness(settings, store, server, make_round, patient_teacher)
    teacher_harness.round()
    teacher_harness.context = make_round(server)
    return teacher_harness, truth


def refreshed(teacher_harness: TeacherHarness) -> None:
    """Brings the harness's pool up to date with the last round."""
    context = teacher_harness.make_round(teacher_harness.server)
    from ml_backend.loop.round import run_round

    run_round(context)
    teacher_harness.context = context


def labelled(teacher_harness: TeacherHarness, truth: dict[int, str], n: int) -> None:
    free = [task for task in truth if not teacher_harness.server.tasks[task]["annotations"]][:n]
    submit_labels(teacher_harness.server, truth, SCHEMA, free)
    refreshed(teacher_harness)


def status_texts(store: Store) -> dict[str, str]:
    return dict(status_lines(read_status(store, 5)))


def test_the_teacher_is_asked_three_times_and_the_learner_starts_from_the_mean(
    clinic: tuple[TeacherHarness, dict[int, str]], store: Store, patient_teacher: PatientTeacher
) -> None:
    teacher_harness, truth = clinic
    refreshed(teacher_harness)
    teacher_harness.finish()
    questions = [question for question in patient_teacher.asked if question.purpose == "describe"]
    assert len(questions) == feature_scores.ESTIMATE_COUNT == len({question.id for question in questions})
    prompt = json.loads(questions[0].text)
    assert [field["name"] for field in prompt["fields"]] == ["age", "city", "noise", "smoker"]
    assert len(prompt["records"]) == 3 and questions[0].reply["properties"]["scores"]["maxItems"] == 5
    features = first_of(store.projects.ensure(5).feature_scores)
    assert features is not None and features["by"] == "teacher" and len(features["estimates"]) == 3
    mean = feature_scores.mean_estimate(features["estimates"])["yes"]
    assert mean["smoker"] == pytest.approx(5.67, abs=0.01) and mean["city"] == {"Bergen": 4.0, "Oslo": -4.0}
    assert feature_scores.estimate_deviation(features["estimates"])["yes"]["smoker"] == pytest.approx(0.47, abs=0.01)
    labelled(teacher_harness, truth, 4)
    model, _ = load_best_learner(store, active(store), teacher_harness.context.pool.space)
    assert model is not None and model.started_from == "fields" and model.trust is not None and model.trust > 0.5
    right = [
        prediction["result"][0]["value"]["choices"][0] == truth[prediction["task"]]
        for prediction in teacher_harness.server.current_predictions()
    ]
    assert np.mean(right) > 0.65, "with four answers"
    assert status_texts(store)["prior trust"].endswith("confirm the scores of the fields")


def test_reversed_scores_of_a_teacher_are_detected_and_not_used(
    clinic: tuple[TeacherHarness, dict[int, str]], store: Store, patient_teacher: PatientTeacher
) -> None:
    teacher_harness, truth = clinic
    patient_teacher.sign = -1
    refreshed(teacher_harness)
    teacher_harness.finish()
    labelled(teacher_harness, truth, 30)
    model, _ = load_best_learner(store, active(store), teacher_harness.context.pool.space)
    assert model is not None and model.started_from == "" and model.trust is not None and model.trust < 0.5
    assert "WARNING" in status_texts(store)["prior trust"] and "reversed" in status_texts(store)["prior trust"]


def test_scores_written_by_hand_are_never_replaced(
    clinic: tuple[TeacherHarness, dict[int, str]], store: Store, patient_teacher: PatientTeacher
) -> None:
    teacher_harness, _ = clinic
    own_scores = {"estimates": [{"yes": {"age": 3}}], "by": "hand"}
    feature_scores.save_features(store, 5, SCHEMA.controls[0], feature_scores.Features(scores=own_scores))
    refreshed(teacher_harness)
    teacher_harness.finish()
    assert first_of(store.projects.ensure(5).feature_scores) == own_scores and not patient_teacher.texts("describe")


def test_without_a_teacher_there_are_no_scores_and_no_trust_in_them(
    clinic: tuple[TeacherHarness, dict[int, str]], store: Store, options: Callable[..., None]
) -> None:
    teacher_harness, truth = clinic
    options(teacher=registry.EMBEDDED_TEACHER)
    refreshed(teacher_harness)
    teacher_harness.finish()
    labelled(teacher_harness, truth, 20)
    model, _ = load_best_learner(store, active(store), teacher_harness.context.pool.space)
    assert model is not None and model.trust is None and "prior trust" not in status_texts(store)


def test_scores_of_unknown_labels_and_second_scores_of_a_field_are_ignored() -> None:
    def score(label: str, field: str, value: str, n: int) -> dict[str, Any]:
        return {"label": label, "field": field, "value": value, "score": n}

    content = {
        "scores": [
            score("yes", "age", "", 99), score("yes", "age", "", 1), score("gone", "age", "", 5),
            score("yes", "city", "Oslo", 2), score("yes", "city", "", 7), score("no", "smoker", "yes", -3),
        ]
    }  # fmt: skip
    assert feature_scores.estimate_from_reply(content, SCHEMA.controls[0], {"city"}) == {
        "yes": {"age": 10.0, "city": {"Oslo": 2.0}},
        "no": {"smoker": -3.0},
    }


def test_a_batch_teacher_is_asked_for_scores_by_file(
    settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None],
    tmp_path: Path,
) -> None:  # fmt: skip
    options(queue_size=12, audit_share=0.0, teacher="batch", teacher_model="small", teacher_labels=0)
    server.label_config = TABLE
    add_patients(server, 60)
    teacher_harness = TeacherHarness(settings, store, server, make_round, PatientTeacher())
    refreshed(teacher_harness)
    teacher_harness.finish()
    file = tmp_path / "requests.jsonl"
    assert batch_files.export_questions(store, settings, 5, file) == BatchExport("written", "small", 3)
    content = {"scores": [{"label": "yes", "field": "age", "value": "", "score": 7}]}
    message = {"message": {"role": "assistant", "content": json.dumps(content)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 10}
    replies = [
        {"custom_id": json.loads(line)["custom_id"], "error": None,
         "response": {"status_code": 200, "body": {"model": "small", "usage": usage, "choices": [message]}}}
        for line in file.read_text().splitlines()
    ]  # fmt: skip
    response_file = tmp_path / "responses.jsonl"
    response_file.write_text("".join(f"{json.dumps(reply)}\n" for reply in replies[:2]))
    assert batch_files.import_answers(store, settings, 5, response_file).outcomes == {"answered": 2}
    teacher_harness.finish()
    features = first_of(store.projects.ensure(5).feature_scores)
    assert features is not None and features["estimates"] == [{"yes": {"age": 7.0}}] * 2
    response_file.write_text(json.dumps(replies[2]))
    batch_files.import_answers(store, settings, 5, response_file)
    teacher_harness.finish()
    assert len(feature_scores.estimates(store.projects.ensure(5), SCHEMA.controls[0])) == 3
    assert (first_of(store.projects.ensure(5).distillations) or {})["made_of"]["cues"] == 1


def test_scores_written_while_the_teacher_answers_are_kept(
    clinic: tuple[TeacherHarness, dict[int, str]], store: Store, patient_teacher: PatientTeacher
) -> None:
    teacher_harness, _ = clinic
    refreshed(teacher_harness)
    teacher_harness.finish()
    project_row = store.projects.ensure(5)  # as a thread has it that began before
    own_scores = {"estimates": [{"yes": {"age": 3}}], "by": "hand"}
    set_up(store, 5, feature_scores=own_scores)
    encoder = feature_space.project_record_encoder(teacher_harness.settings, project_row)
    assert encoder is not None
    stale = replace(project_row, feature_scores={})
    assert not feature_scores.adopt_answers(store, stale, encoder, SCHEMA.controls[0], patient_teacher.name)
    assert first_of(store.projects.ensure(5).feature_scores) == own_scores


def test_after_a_change_of_fields_or_labels_the_teacher_is_asked_for_new_scores(
    clinic: tuple[TeacherHarness, dict[int, str]], store: Store, patient_teacher: PatientTeacher
) -> None:
    teacher_harness, _ = clinic
    refreshed(teacher_harness)
    teacher_harness.finish()
    first, *_ = feature_scores.estimates(store.projects.ensure(5), SCHEMA.controls[0])
    assert first["yes"].keys() == {"age", "smoker", "city", "noise", "shoes"}
    for task in list(teacher_harness.server.tasks.values()):
        task["data"]["record"]["shoes"] = len(task["data"]["record"]["city"]) + task["id"] % 5
        task["updated_at"] = teacher_harness.server._now()
    add_patients(teacher_harness.server, 130, seed=3)  # it has doubled
    set_up(store, 5, reconciled_at=0.0)
    patient_teacher.sign = -1
    refreshed(teacher_harness)
    teacher_harness.finish()
    assert len(patient_teacher.texts("describe")) == 6
    assert (
        feature_scores.mean_estimate(feature_scores.estimates(store.projects.ensure(5), SCHEMA.controls[0]))["yes"][
            "age"
        ]
        == -8.0
    )


def test_questions_about_many_fields_are_split_into_portions() -> None:
    labels = replace(SCHEMA, controls=(replace(SCHEMA.controls[0], labels=tuple(f"label {n}" for n in range(6))),))
    about = [{"name": f"n{n}", "kind": "numeric", "values": ["0", "9"]} for n in range(40)]
    about += [{"name": f"c{n}", "kind": "categorical", "values": ["x" * 500] * 40} for n in range(20)]
    portions = description_prompts.field_portions(labels.controls[0], about)
    assert [field["name"] for portion in portions for field in portion] == [field["name"] for field in about]
    for portion in portions:
        question = description_prompts.feature_score_question(labels.controls[0], portion, [], "teacher", 1)
        assert 0 < question.reply["properties"]["scores"]["maxItems"] <= description_prompts.MAX_SCORES_PER_REPLY
        assert len(question.text) < 20_000
    assert len(description_prompts.field_portions(SCHEMA.controls[0], about[:10])) == 1
    assert (
        len(description_prompts.field_portions(labels.controls[0], about * 9))
        == description_prompts.MAX_REPLIES_PER_ESTIMATE
    )


def test_an_estimate_has_the_scores_of_all_its_portions(
    clinic: tuple[TeacherHarness, dict[int, str]],
    store: Store,
    patient_teacher: PatientTeacher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher_harness, _ = clinic
    monkeypatch.setattr(description_prompts, "MAX_SCORES_PER_REPLY", 3)
    refreshed(teacher_harness)
    teacher_harness.finish()
    assert len(patient_teacher.texts("describe")) == 6
    estimates = feature_scores.estimates(store.projects.ensure(5), SCHEMA.controls[0])
    assert len(estimates) == 3 and estimates[0]["yes"].keys() >= {"age", "smoker", "city"}
