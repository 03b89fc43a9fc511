"""What runs beside the rounds of a project with two controls: the monitor, the teacher, and the distillation."""

from __future__ import annotations

import pytest
from fake_label_studio import FakeLabelStudio
from manual_clock import ManualClock
from projects import set_up
from round_fixtures import MakeRound, active
from teacher_harness import TeacherHarness
from two_controls import LABEL, MOOD, TWO_CONTROLS, Labels, label_open_tasks, learn_both_controls

from ml_backend.core.settings import Settings
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.monitoring.status import read_status
from ml_backend.storage import Store
from ml_backend.worker.monitor_runner import PAUSE_SECONDS, MonitorRunner


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(label_config=TWO_CONTROLS)


@pytest.fixture
def taught(server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store) -> dict[int, Labels]:
    """A project of 90 tasks whose second version has learners of both controls, fitted on 30 right annotations."""
    truth = learn_both_controls(server, lambda: run_round(make_round(server)))
    set_up(store, 5, connection={"ml": 1})
    return truth


def test_the_monitor_has_a_result_for_each_control_although_each_annotation_changes_both_learners(
    taught: dict[int, Labels], server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store,
    clock: ManualClock,
) -> None:  # fmt: skip
    runner, pool = MonitorRunner(settings, store, LabelAggregators(store)), make_round(server).pool
    for _ in range(2):
        label_open_tasks(server, taught, 5)
        run_round(make_round(server))
        clock.sleep(PAUSE_SECONDS)
        runner.step({5: pool})
        runner.wait()
    results = store.projects.ensure(5).monitor_results
    measured = {name: (result["version"], result["labelled"]) for name, result in results.items()}
    assert measured == {LABEL: (3, 35), MOOD: (4, 40)}
    controls = read_status(store, 5).controls
    assert [control.monitor["version"] for control in controls.values()] == [3, 4]


def test_the_teacher_is_asked_once_for_the_labels_of_both_controls(teacher_harness: TeacherHarness) -> None:
    teacher_harness.finish()
    questions = [question for question in teacher_harness.teacher.asked if question.purpose == "label"]
    assert len(questions) == 20 == len({question.text for question in questions})
    assert {tuple(sorted(field.name for field in question.fields)) for question in questions} == {(LABEL, MOOD)}


def test_the_labels_of_each_control_are_described_once(teacher_harness: TeacherHarness, store: Store) -> None:
    teacher_harness.finish()
    assert len(teacher_harness.teacher.texts("describe")) == 2
    descriptions = store.projects.ensure(5).label_descriptions
    assert {name: {*labels} for name, labels in descriptions.items()} == {
        LABEL: {"fruit", "metal", "animal"}, MOOD: {"calm", "wild"},
    }  # fmt: skip


def test_the_examples_of_a_question_have_the_annotators_labels_of_both_controls(
    teacher_harness: TeacherHarness, taught: dict[int, Labels]
) -> None:
    teacher_harness.finish()
    labels_of = {teacher_harness.server.tasks[task]["data"]["text"]: labels for task, labels in taught.items()}
    examples = [pair for question in teacher_harness.teacher.asked for pair in question.examples]
    assert examples
    for text, reply in examples:
        assert {f'"{name}": "{label}"' for name, label in labels_of[text].items()} <= {*reply.strip("{}").split(", ")}


def test_each_control_gets_a_prior_from_which_its_next_learner_starts(
    teacher_harness: TeacherHarness, store: Store
) -> None:
    teacher_harness.finish()
    priors = store.projects.ensure(5).distillations
    assert all(priors[name]["made_of"]["taught"] > 0 and priors[name]["made_of"]["cues"] > 0 for name in (LABEL, MOOD))
    assert priors[LABEL]["sha256"] != priors[MOOD]["sha256"]
    teacher_harness.round()
    number = active(store).learner
    assert number is not None
    models = project_model.load(store, 5, number).by_control
    assert {name: model.snapshot.prior for name, model in models.items()} == {
        name: priors[name]["sha256"] for name in (LABEL, MOOD)
    }
