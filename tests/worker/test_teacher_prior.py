"""Teacher labels and cues become a prior: what a prior is made from, when it is made, and who may use it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from projects import set_up
from recording_plugins import RecordingLearner
from round_fixtures import active
from schemas import first_of
from stored_models import load_best_learner
from teacher_harness import TeacherHarness

from ml_backend.core import registry
from ml_backend.core.arrays import PseudoLabels
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.setup import remove_earlier_project
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import Store
from ml_backend.teacher import distillation, teacher_labels
from ml_backend.teacher.descriptions import label_descriptions
from ml_backend.teacher.loaded_project import LoadedProject
from ml_backend.worker.teacher_runner import MAX_RETRY_SECONDS


def fitted_and_judging(logistic: RecordingLearner, store: Store) -> tuple[set[int], set[int]]:
    """The tasks that the serving learner was fitted on, and those of them that decide which prior is used."""
    learner, _ = load_best_learner(store, active(store), "fake")
    assert learner is not None
    tasks, mask = learner.snapshot.tasks, logistic.trained[-1].prior_selection_mask
    return set(tasks.tolist()), set(tasks.tolist() if mask is None else tasks[mask].tolist())


def test_teacher_labels_and_label_descriptions_become_a_prior_from_which_the_next_round_starts(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    teacher_harness.finish()
    prior = first_of(store.projects.ensure(5).distillations)
    # drafts of the queue's head are asked for with answers in sight
    taught = [
        question.text
        for question in teacher_harness.teacher.asked
        if question.purpose == "label" and not question.examples
    ]
    assert prior is not None and prior["made_of"]["cues"] > 0
    assert 0 < prior["made_of"]["taught"] == len(taught) < 20
    assert store.jobs.state(5).waiting
    teacher_harness.round()
    learner, _ = load_best_learner(store, active(store), "fake")
    assert learner is not None and learner.snapshot.prior == prior["sha256"]
    assert learner.prior_errors["labels and cues"] < 1


def test_annotations_of_tasks_in_a_prior_do_not_decide_about_it_until_it_is_distilled_without_them(
    teacher_harness: TeacherHarness, store: Store, logistic: RecordingLearner
) -> None:
    teacher_harness.finish()
    taught = [
        question.text
        for question in teacher_harness.teacher.asked
        if question.purpose == "label" and not question.examples
    ][:3]
    new_tasks = {task for task, body in teacher_harness.server.tasks.items() if body["data"]["text"] in taught}
    for task in new_tasks:
        teacher_harness.server.annotate(task, "fruit")
    teacher_harness.round()
    learnt, judges = fitted_and_judging(logistic, store)
    assert len(new_tasks) == 3 and learnt - judges == new_tasks
    teacher_harness.finish()
    teacher_harness.round()
    learnt, judges = fitted_and_judging(logistic, store)
    assert new_tasks <= learnt == judges


def test_if_all_tasks_in_a_prior_are_annotated_it_is_distilled_without_teacher_labels(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    teacher_harness.finish()
    taught = {
        question.text
        for question in teacher_harness.teacher.asked
        if question.purpose == "label" and not question.examples
    }
    for task, body in list(teacher_harness.server.tasks.items()):
        if body["data"]["text"] in taught:
            teacher_harness.server.annotate(task, "fruit")
    teacher_harness.round()
    teacher_harness.finish()
    project_row = store.projects.ensure(5)
    prior = distillation.load_priors(
        store, project_row, "logistic", "fake", read_schema(project_row.label_config).controls[0]
    )
    assert len(taught) > 5 and len(prior.taught) == 0 and prior.tensors.keys() == {"cues"}


def test_names_of_labels_and_descriptions_by_a_person_are_distilled_without_a_teacher(
    teacher_harness: TeacherHarness, store: Store, options: Callable[..., None]
) -> None:
    options(teacher=registry.EMBEDDED_TEACHER)
    teacher_harness.step()
    prior = first_of(store.projects.ensure(5).distillations)
    assert prior is not None and (prior["made_of"]["taught"], prior["made_of"]["cues"]) == (0, 3)
    teacher_harness.round()
    learner, _ = load_best_learner(store, active(store), "fake")
    assert learner is not None and learner.prior_errors.keys() == {"none", "cues"}
    set_up(store, 5, label_descriptions={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    teacher_harness.step()
    prior = first_of(store.projects.ensure(5).distillations)
    assert prior is not None and (prior["made_of"]["taught"], prior["made_of"]["cues"]) == (0, 4), (
        "with the names of three labels"
    )
    teacher_harness.step()
    assert first_of(store.projects.ensure(5).distillations) == prior


def test_edited_or_removed_label_descriptions_are_distilled_again(
    teacher_harness: TeacherHarness, store: Store, options: Callable[..., None]
) -> None:
    options(teacher=registry.EMBEDDED_TEACHER)
    prior = []
    for phrase in ("apple pear plum", "iron copper zinc", "iron copper zinc", ""):
        cues = {"fruit": {"description": "", "cues": [[phrase, 9]]}} if phrase else {}
        set_up(store, 5, label_descriptions=cues)
        teacher_harness.step()
        prior.append((first_of(store.projects.ensure(5).distillations) or {})["number"])
    assert prior == [2, 3, 3, 4]
    teacher_harness.round()
    learner, _ = load_best_learner(store, active(store), "fake")
    assert learner is not None and learner.started_from == ""


def test_label_descriptions_by_a_person_are_never_replaced_by_the_teachers(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    own_cues = {"fruit": {"description": "my words", "cues": []}}
    set_up(store, 5, label_descriptions=own_cues)
    teacher_harness.finish()
    assert first_of(store.projects.ensure(5).label_descriptions) == own_cues and not teacher_harness.teacher.texts(
        "describe"
    )


def test_a_phrase_that_names_a_removed_label_is_distilled_nevertheless(
    teacher_harness: TeacherHarness, store: Store, options: Callable[..., None]
) -> None:
    options(teacher=registry.EMBEDDED_TEACHER)
    set_up(store, 5, label_descriptions={"fruit": {"description": "", "cues": [["a stone fruit", -5, "stone"]]}})
    teacher_harness.step()
    prior = first_of(store.projects.ensure(5).distillations)
    assert prior is not None and prior["made_of"]["cues"] == 4


def test_lost_label_descriptions_are_restored_from_the_teachers_earlier_answer(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    teacher_harness.finish()
    cues, questions_before = first_of(store.projects.ensure(5).label_descriptions), len(teacher_harness.teacher.asked)
    for lost in range(2):  # killed before they were kept, or another project of this number
        set_up(store, 5, label_descriptions=None, distillation=None)
        teacher_harness.finish()
        assert first_of(store.projects.ensure(5).label_descriptions) == cues, lost
    set_up(store, 5, label_descriptions={})
    teacher_harness.finish()
    assert first_of(store.projects.ensure(5).label_descriptions) == {}, "somebody has taken them away"
    assert len(teacher_harness.teacher.asked) == questions_before


def test_descriptions_of_unknown_labels_are_not_stored_and_labels_are_asked_for_nevertheless(
    teacher_harness: TeacherHarness,
) -> None:
    def misfit(_: Question, answer: Answer) -> Answer:
        if answer.content and "labels" in answer.content:
            answer.content["labels"][0]["label"] = "stone"
        return answer

    teacher_harness.teacher.change = misfit
    teacher_harness.finish()
    assert (
        len(teacher_harness.teacher.texts()) == 20
        and first_of(teacher_harness.store.projects.ensure(5).label_descriptions) is None
    )
    assert teacher_harness.teacher.texts("describe") != [] and teacher_harness.state()["problem"] == ""


def test_another_project_with_the_same_number_gets_no_prior_and_no_descriptions_of_the_earlier_one(
    teacher_harness: TeacherHarness,
    store: Store,
    settings: Settings,
    logistic: RecordingLearner,
    options: Callable[..., None],
) -> None:
    def replace_project() -> None:
        remove_earlier_project(store, 5)
        set_up(store, 5, made_at="2026-11-22", published="apprentice-1-new")

    logistic.before_distil = replace_project
    set_up(store, 5, label_descriptions={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    options(teacher=registry.EMBEDDED_TEACHER)
    teacher_harness.step()
    project_row = store.projects.ensure(5)
    assert (project_row.made_at, first_of(project_row.distillations), project_row.teacher) == ("2026-11-22", None, None)
    assert not list((settings.data_dir / "artifacts" / "5").glob("prior*"))


def test_an_answer_for_an_earlier_project_with_the_same_number_is_not_adopted(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    teacher_harness.finish()
    set_up(store, 5, label_descriptions=None)
    project_row, schema = store.projects.ensure(5), read_schema(store.projects.ensure(5).label_config)
    set_up(store, 5, made_at="2026-11-22")
    assert (
        not label_descriptions.adopt_earlier_answer(store, project_row, schema.controls[0], "scripted")
        and first_of(store.projects.ensure(5).label_descriptions) is None
    )
    assert label_descriptions.adopt_earlier_answer(store, store.projects.ensure(5), schema.controls[0], "scripted")


def test_no_vectors_are_copied_for_a_prior_that_is_not_due(
    teacher_harness: TeacherHarness,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: Callable[..., None],
) -> None:
    options(teacher=registry.EMBEDDED_TEACHER)
    set_up(store, 5, label_descriptions={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    teacher_harness.step()
    prior = first_of(store.projects.ensure(5).distillations)
    monkeypatch.setattr(PoolContents, "encoded_view", lambda _: pytest.fail("the vectors are copied"))
    set_up(store, 5, tasks_revision=99)
    teacher_harness.step()
    assert (
        prior and first_of(store.projects.ensure(5).distillations) == prior and "failed" not in capsys.readouterr().out
    )


def test_a_prior_whose_artifact_is_missing_is_distilled_again(teacher_harness: TeacherHarness, store: Store) -> None:
    teacher_harness.finish()
    prior = first_of(store.projects.ensure(5).distillations) or {}
    store.artifacts.remove(prior["file"])
    teacher_harness.finish()
    new_prior = first_of(store.projects.ensure(5).distillations) or {}
    assert new_prior["number"] == prior["number"] + 1 and store.artifacts.read(new_prior["file"], new_prior["sha256"])


def test_two_workers_that_distil_at_once_leave_a_prior_that_can_be_read(
    teacher_harness: TeacherHarness, store: Store, settings: Settings
) -> None:
    teacher_harness.finish()
    project_row = store.projects.ensure(5)
    schema, pool, encoder = (
        read_schema(project_row.label_config),
        teacher_harness.context.pool,
        registry.encoder("minilm"),
    )
    nothing = PseudoLabels(
        np.empty((0, encoder.dim), np.float32), np.empty((0, 3), np.float32), np.empty(0, np.float32)
    )
    project = LoadedProject(project_row, ProjectSettings(), schema, schema.controls[0], pool, encoder)
    distillation_input = distillation.collect_distillation_input(
        project, "logistic", teacher_labels.no_teacher_labels(schema.controls[0]), nothing
    )
    distillation.update_prior(store, project_row, distillation_input, schema.controls[0], encoder)
    first = first_of(store.projects.ensure(5).distillations) or {}
    distillation.update_prior(store, project_row, distillation_input, schema.controls[0], encoder)
    second = first_of(store.projects.ensure(5).distillations) or {}
    assert (second["number"], second["file"] != first["file"]) == (first["number"] + 1, True)
    assert store.artifacts.read(second["file"], second["sha256"])
    assert len(list((settings.data_dir / "artifacts" / "5").glob("prior*"))) == 1


def test_a_prior_for_a_single_choice_is_not_used_for_several_choices(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    prior = first_of(store.projects.ensure(5).distillations)
    project_row = store.projects.ensure(5)
    several = project_row.label_config.replace('choice="single"', 'choice="multiple"')
    assert several != project_row.label_config and prior is not None
    schema = read_schema(several)
    assert (
        distillation.load_priors(
            store, project_row, "logistic", "fake", read_schema(project_row.label_config).controls[0]
        ).name
        == prior["sha256"]
    )
    nothing = distillation.load_priors(store, project_row, "logistic", "fake", schema.controls[0])
    assert (nothing.tensors, nothing.name, len(nothing.taught)) == ({}, "", 0)
    set_up(store, 5, label_config=several)
    teacher_harness.step()
    updated_record = store.projects.ensure(5)
    assert distillation.load_priors(store, updated_record, "logistic", "fake", schema.controls[0]).name not in (
        "",
        prior["sha256"],
    )


def test_a_prior_of_teacher_labels_stays_when_the_project_has_no_teacher_any_more(
    teacher_harness: TeacherHarness, store: Store, options: Callable[..., None]
) -> None:
    teacher_harness.finish()
    prior = first_of(store.projects.ensure(5).distillations)
    assert prior is not None and prior["made_of"]["taught"] > 0
    options(teacher=registry.EMBEDDED_TEACHER)
    for _ in range(3):
        teacher_harness.step()
    assert first_of(store.projects.ensure(5).distillations) == prior
    set_up(store, 5, label_descriptions={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    teacher_harness.step()
    new_prior = first_of(store.projects.ensure(5).distillations)
    assert new_prior is not None and new_prior["number"] > prior["number"], "what a person says is taught all the same"


def test_a_prior_is_made_anew_without_the_label_of_a_task_that_was_deleted(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    teacher_harness.finish()
    schema = read_schema(store.projects.ensure(5).label_config)

    def taught_tasks() -> set[int]:
        pool, row = teacher_harness.context.pool, store.projects.ensure(5)
        priors = distillation.load_priors(store, row, "logistic", "fake", schema.controls[0])
        return {*pool.tasks[priors.is_distilled(pool.keys_of(np.arange(len(pool.tasks))))].tolist()}

    before = taught_tasks()
    deleted = min(before)
    teacher_harness.server.delete_task(deleted)
    store.tasks.remove(5, [deleted])
    teacher_harness.round()
    number = (first_of(store.projects.ensure(5).distillations) or {})["number"]
    teacher_harness.step()
    assert taught_tasks() == before - {deleted}
    assert (first_of(store.projects.ensure(5).distillations) or {})["number"] == number + 1
    teacher_harness.step()
    assert (first_of(store.projects.ensure(5).distillations) or {})["number"] == number + 1, "once"


def fail_to_distil(learner: RecordingLearner) -> list[int]:
    """Makes each distillation fail. Returns a list that gets an item for each of them."""
    runs = []

    def fail() -> None:
        runs.append(1)
        raise ZeroDivisionError("the text of a task")

    learner.before_distil = fail
    return runs


def test_a_project_whose_distillation_fails_is_paused_and_no_other_project(
    teacher_harness: TeacherHarness, store: Store, logistic: RecordingLearner, options: Callable[..., None]
) -> None:
    runs = fail_to_distil(logistic)
    options(teacher=registry.EMBEDDED_TEACHER)
    set_up(store, 5, distillation=None)
    for _ in range(3):
        teacher_harness.step()
    assert runs == [1] and first_of(store.projects.ensure(5).distillations) is None


def test_a_teacher_is_asked_on_if_no_prior_can_be_made_of_its_labels(
    teacher_harness: TeacherHarness, store: Store, logistic: RecordingLearner
) -> None:
    runs = fail_to_distil(logistic)
    prior, asked = first_of(store.projects.ensure(5).distillations), []
    for _ in range(12):
        teacher_harness.step()
        asked.append(len(teacher_harness.teacher.asked))
    assert runs == [1], "it is tried again later"
    assert asked[-1] >= 20 and first_of(store.projects.ensure(5).distillations) == prior
    teacher_harness.clock.sleep(MAX_RETRY_SECONDS)
    logistic.before_distil = lambda: None
    teacher_harness.step()
    assert first_of(store.projects.ensure(5).distillations) != prior, "although nothing has changed since"
