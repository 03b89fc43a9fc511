"""A teacher that is unavailable, too expensive, failing or slow: which problem is reported, and what goes on."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from plugin_overrides import UseTeacher
from projects import set_up
from recording_plugins import RecordingLearner, RecordingStrategy
from round_fixtures import active, learn
from scripted_teacher import ScriptedTeacher
from teacher_harness import TeacherHarness

from ml_backend.core import registry
from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.storage import Store
from ml_backend.teacher import candidates
from ml_backend.teacher.project_snapshot import take_snapshot
from ml_backend.worker.teacher_runner import MAX_RETRY_SECONDS, PAUSE_SECONDS


def test_pauses_after_errors_of_an_unavailable_teacher_grow_and_its_problem_is_stored(
    teacher_harness: TeacherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = teacher_harness.clock
    teacher_harness.teacher.silent = TeacherUnavailableError("nobody listens at the endpoint")
    pauses = []
    for _ in range(12):
        teacher_harness.step()
        assert teacher_harness.state()["problem"] == "nobody listens at the endpoint"
        pauses.append(teacher_harness.state()["until"] - clock.now())
        clock.set_now(teacher_harness.state()["until"])
    assert pauses == pytest.approx([5, 10, 20, 40, 80, 160, 320, *[MAX_RETRY_SECONDS] * 5], abs=0.01)
    teacher_harness.teacher.silent = None
    teacher_harness.finish()
    assert teacher_harness.state()["problem"] == "" and len(teacher_harness.teacher.texts()) == 20


def test_a_teacher_is_asked_again_after_the_time_that_it_named(
    teacher_harness: TeacherHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher_harness.teacher.silent = TeacherUnavailableError("too many requests", retry_after=33.0)
    teacher_harness.step()
    assert teacher_harness.state()["until"] - teacher_harness.clock.now() == pytest.approx(33, abs=0.01)


def test_a_spent_budget_is_reported_and_the_rounds_go_on(
    teacher_harness: TeacherHarness, options: Any, single: ProjectSchema, taught: dict[int, str], store: Store
) -> None:
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20, teacher_daily_calls=18)
    teacher_harness.finish()
    assert len(teacher_harness.teacher.asked) == 4 and "teacher_daily_calls" in teacher_harness.state()["problem"]
    learn(teacher_harness.server, taught, single, 5)
    set_up(store, 5, reconciled_at=0.0)
    teacher_harness.round()
    assert active(store).labelled == 35


def test_labels_are_asked_for_if_a_question_for_label_descriptions_exceeds_the_budget(
    teacher_harness: TeacherHarness, options: Any
) -> None:
    options(
        queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20, teacher_probabilities="stated",
        teacher_output_price=1000.0, teacher_daily_budget=1.0,
    )  # fmt: skip
    for _ in range(2):
        teacher_harness.finish()
    assert len(teacher_harness.teacher.texts()) == 20 and not teacher_harness.teacher.texts("describe")


def test_an_unexpected_error_is_reported_by_its_type_only(teacher_harness: TeacherHarness) -> None:
    def fail() -> None:
        raise ZeroDivisionError("the text of a task")

    teacher_harness.teacher.before_answers = fail
    teacher_harness.step()
    assert teacher_harness.state()["problem"] == "asking the teacher failed (ZeroDivisionError)"


def test_another_teacher_does_not_get_the_problem_of_the_earlier_one(
    teacher_harness: TeacherHarness, use_teacher: UseTeacher, options: Any
) -> None:
    teacher_harness.teacher.silent = TeacherUnavailableError("the key is wrong", fatal=True)
    teacher_harness.step()
    assert (teacher_harness.state()["name"], teacher_harness.state()["problem"]) == ("scripted", "the key is wrong")
    other_teacher = ScriptedTeacher()
    other_teacher.name = "another"
    use_teacher(other_teacher)
    teacher_harness.step()
    assert (teacher_harness.state()["name"], teacher_harness.state()["problem"]) == (
        "another",
        "",
    ) and other_teacher.asked
    options(teacher=registry.EMBEDDED_TEACHER)
    teacher_harness.step()
    assert teacher_harness.store.projects.ensure(5).teacher is None


def test_a_budget_that_does_not_cover_the_next_question_is_reported_until_it_does(
    teacher_harness: TeacherHarness, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"queue_size": 12, "audit_share": 0.0, "teacher_ahead": 5, "teacher_labels": 8}
    options(**values, teacher_input_price=1.0, teacher_daily_budget=1e-6)
    teacher_harness.finish()
    assert not teacher_harness.teacher.asked and "does not cover" in teacher_harness.state()["problem"]
    assert "teacher_daily_budget" in teacher_harness.state()["problem"]
    options(**values, teacher_daily_budget=1.0)
    teacher_harness.finish()
    assert teacher_harness.teacher.asked and teacher_harness.state()["problem"] == ""


def test_a_problem_is_removed_when_no_question_is_left(teacher_harness: TeacherHarness, options: Any) -> None:
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=4, teacher_daily_calls=5)
    teacher_harness.finish()
    assert "teacher_daily_calls" in teacher_harness.state()["problem"]
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=4, teacher_daily_calls=0)
    teacher_harness.finish()
    assert teacher_harness.state()["problem"] == "" and len(teacher_harness.teacher.asked) == 5


def test_a_project_with_an_unexpected_error_is_paused_and_the_type_of_the_error_is_logged(
    teacher_harness: TeacherHarness, teacher_strategy: RecordingStrategy, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []

    def fail() -> None:
        runs.append(1)
        raise ZeroDivisionError("the text of a task")

    teacher_strategy.before_select = fail
    teacher_harness.finish()
    for _ in range(3):
        teacher_harness.step()
    output = capsys.readouterr().out
    assert runs == [1] and "ZeroDivisionError" in output and "the text" not in output


def test_all_slow_work_is_done_in_the_thread(
    teacher_harness: TeacherHarness, logistic: RecordingLearner, teacher_strategy: RecordingStrategy
) -> None:
    threads = set()
    teacher_harness.teacher.before_answers = lambda: threads.add(threading.current_thread().name)
    teacher_harness.finish()
    assert threads == logistic.threads == teacher_strategy.threads == {"teacher"}


def test_the_thread_reads_a_snapshot_of_the_pool_and_encodes_nothing(
    teacher_harness: TeacherHarness, store: Store, fake_encoder: FakeEncoder
) -> None:
    pool, project_row = teacher_harness.context.pool, store.projects.ensure(5)
    pool.encoded[:] = False
    snapshot = take_snapshot(pool, project_row, ProjectSettings(), None, (), fake_encoder)
    pool.encoded_vectors(np.arange(3))
    assert not snapshot.pool.encoded.any() and int(pool.encoded.sum()) == 3
    fake_encoder.before_encoding = lambda: pytest.fail("the thread encodes")
    questions = candidates.label_questions(store, snapshot, {}, "another", pool.tasks)
    assert len(questions) == 90


def test_a_worker_that_stops_waits_for_pending_answers_but_not_for_a_server_that_hangs(
    teacher_harness: TeacherHarness,
) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        is_asked.set()
        go_on.wait(30)

    teacher_harness.teacher.before_answers = hang
    teacher_harness.clock.sleep(PAUSE_SECONDS)
    teacher_harness.runner.step({5: teacher_harness.context.pool})
    assert is_asked.wait(30)
    assert not teacher_harness.runner.wait(0.05)
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "teacher"] == [True]
    go_on.set()
    assert teacher_harness.runner.wait(30.0)
    assert len(teacher_harness.store.questions.cached_replies(5, "scripted").keys) == 5
