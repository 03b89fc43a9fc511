"""The teacher works ahead of the queue: which questions it gets, in which order, and which it never gets."""

from __future__ import annotations

from typing import Any

from fake_label_studio import WORDS, FakeLabelStudio
from projects import set_up
from recording_plugins import RecordingLearner, RecordingStrategy
from round_fixtures import MakeRound, active, queue
from schemas import first_of, only
from scripted_teacher import ScriptedTeacher
from teacher_harness import TeacherHarness

from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.storage import Store
from ml_backend.worker.teacher_runner import MAX_IDLE_PAUSE_SECONDS, PAUSE_SECONDS


def test_questions_are_about_the_head_of_the_queue_then_the_labels_then_further_tasks_up_to_teacher_labels(
    teacher_harness: TeacherHarness,
) -> None:
    head = [teacher_harness.server.tasks[task]["data"]["text"] for task in queue(teacher_harness.server)[:5]]
    teacher_harness.finish()
    assert [question.purpose for question in teacher_harness.teacher.asked[:7]] == [*["label"] * 5, "describe", "label"]
    assert teacher_harness.teacher.texts()[:5] == head
    assert len(teacher_harness.teacher.texts()) == 20 == len(set(teacher_harness.teacher.texts()))
    cues = first_of(teacher_harness.store.projects.ensure(5).label_descriptions)
    assert cues is not None and cues["fruit"]["description"] == "about a fruit"
    assert all("about a metal" in question.instructions for question in teacher_harness.teacher.asked[6:])


def test_a_teacher_that_describes_no_labels_labels_tasks_nevertheless(teacher_harness: TeacherHarness) -> None:
    teacher_harness.teacher.change = lambda question, answer: answer if question.purpose == "label" else None
    for _ in range(2):  # it waits for cues in vain once
        teacher_harness.finish()
    assert (
        len(teacher_harness.teacher.texts()) == 20
        and first_of(teacher_harness.store.projects.ensure(5).label_descriptions) is None
    )


def test_questions_for_drafts_have_annotations_as_examples_and_those_for_distillation_have_none(
    teacher_harness: TeacherHarness, taught: dict[int, str]
) -> None:
    teacher_harness.finish()
    questions = [question for question in teacher_harness.teacher.asked if question.purpose == "label"]
    assert all(question.examples for question in questions[:5]) and not any(
        question.examples for question in questions[5:]
    )
    examples = [pair for question in questions for pair in question.examples]
    answered = {
        teacher_harness.server.tasks[annotation["task"]]["data"]["text"]: taught[annotation["task"]]
        for annotation in teacher_harness.server.annotations()
    }
    assert examples and all(reply == f'{{"label": "{answered[text]}"}}' for text, reply in examples)


def test_no_question_is_about_a_task_that_is_annotated_or_in_the_audit_sample(
    teacher_harness: TeacherHarness, options: Any, store: Store
) -> None:
    options(queue_size=12, audit_share=0.4, teacher_ahead=12, teacher_labels=60)
    teacher_harness.round()
    audited = store.versions.audited(5)
    teacher_harness.finish()
    texts = set(teacher_harness.teacher.texts())
    kept_out = [*audited, *(annotation["task"] for annotation in teacher_harness.server.annotations())]
    assert audited and not texts & {teacher_harness.server.tasks[task]["data"]["text"] for task in kept_out}


def test_no_question_is_asked_twice_not_even_by_another_process(
    teacher_harness: TeacherHarness, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound,
    teacher: ScriptedTeacher,
) -> None:  # fmt: skip
    teacher_harness.finish()
    n = len(teacher.asked)
    TeacherHarness(settings, store, server, make_round, teacher).finish()
    assert len(teacher.asked) == n
    teacher_harness.round()
    teacher_harness.finish()  # another head of the queue
    assert len({question.id for question in teacher.asked}) == len(teacher.asked)


def test_a_draft_is_the_teachers_if_it_is_more_confident_and_the_region_names_its_author(
    teacher_harness: TeacherHarness, options: Any, taught: dict[int, str]
) -> None:
    teacher_harness.teacher.sure = 1.0
    options(queue_size=12, audit_share=0.0, teacher_ahead=12, teacher_labels=0)
    teacher_harness.finish()
    teacher_harness.round()
    rows = teacher_harness.server.current_predictions()
    reasons = [row["result"][0]["meta"]["text"][0] for row in rows]
    assert {reason.split("'s")[0] for reason in reasons} <= {"teacher", "learner"}
    drafts = {
        draft.task: draft for draft in teacher_harness.store.published_drafts.of(5, active(teacher_harness.store).name)
    }
    for row, reason in zip(rows, reasons, strict=True):
        assert only(drafts[row["task"]].drafts).author == reason.split("'s")[0]
        assert row["result"][0]["value"]["choices"] == list(only(drafts[row["task"]].drafts).value)


def test_the_questions_to_a_batch_teacher_wait_for_an_export(
    teacher_harness: TeacherHarness, options: Any, store: Store, taught: dict[int, str]
) -> None:
    options(queue_size=12, audit_share=0.0, teacher="batch", teacher_model="m", teacher_ahead=5, teacher_labels=40)
    for _ in range(6):
        teacher_harness.step()
    waiting = store.questions.waiting(5)
    assert teacher_harness.teacher.asked == [] and store.questions.counts(5, "batch:m") == {
        ("describe", "waiting"): 1, ("label", "waiting"): 40,
    }  # fmt: skip
    answered = {
        teacher_harness.server.tasks[annotation["task"]]["data"]["text"]
        for annotation in teacher_harness.server.annotations()
    }
    texts = {question.text for question in waiting if question.purpose == "label"}
    assert len(texts) == 40 and not texts & answered
    assert teacher_harness.state()["problem"] == ""


def test_without_a_model_a_batch_teacher_gets_no_questions_and_the_problem_is_reported(
    teacher_harness: TeacherHarness, options: Any, store: Store
) -> None:
    options(queue_size=12, audit_share=0.0, teacher="batch", teacher_model="", teacher_ahead=5, teacher_labels=40)
    for _ in range(3):
        teacher_harness.step()
    assert store.questions.waiting(5) == [] and "has no model: set teacher_model" in teacher_harness.state()["problem"]


def test_all_chosen_tasks_are_asked_about_before_others_are_chosen(
    teacher_harness: TeacherHarness, teacher_strategy: RecordingStrategy
) -> None:
    teacher_harness.finish()
    assert len(teacher_harness.teacher.texts()) == 20 and len(teacher_strategy.selections) == 1


def test_other_tasks_replace_those_whose_question_the_teacher_dropped(
    teacher_harness: TeacherHarness, options: Any
) -> None:
    def refuse_all_but_fruit(question: Question, answer: Answer) -> Answer:
        if question.purpose == "label" and question.text.split()[0] not in WORDS["fruit"]:
            return Answer(question.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")
        return answer

    teacher_harness.teacher.change = refuse_all_but_fruit
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=15)
    teacher_harness.finish()
    counts = teacher_harness.store.questions.counts(5, "scripted")
    assert counts["label", "answered"] == 15 and counts["label", "dropped"] > 4
    assert len(set(teacher_harness.teacher.texts())) == len(teacher_harness.teacher.texts())


def test_teacher_labels_from_an_earlier_configuration_do_not_count_towards_teacher_labels(
    teacher_harness: TeacherHarness, options: Any, store: Store
) -> None:
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=6)
    teacher_harness.finish()
    assert len(teacher_harness.teacher.texts()) == 6
    config = store.projects.ensure(5).label_config
    set_up(store, 5, label_config=config.replace("<Choice ", '<Choice value="stone"/><Choice ', 1), tasks_revision=99)
    teacher_harness.finish()
    assert len(teacher_harness.teacher.texts()) == 12
    fields = [field for question in teacher_harness.teacher.asked for field in question.fields]
    assert sum("stone" in field.labels for field in fields) == 6


def test_a_project_that_is_no_longer_served_leaves_nothing_in_memory(
    teacher_harness: TeacherHarness, logistic: RecordingLearner, store: Store
) -> None:
    pool, runs = teacher_harness.context.pool, []

    def fail() -> None:
        runs.append(1)
        raise ZeroDivisionError

    logistic.before_distil = fail
    set_up(store, 5, distillation=None)
    for _ in range(40):
        teacher_harness.step()
    assert runs == [1], "its pause lasts"
    teacher_harness.clock.sleep(PAUSE_SECONDS)
    teacher_harness.runner.step({})
    teacher_harness.clock.sleep(MAX_IDLE_PAUSE_SECONDS)
    teacher_harness.runner.step({5: pool})
    assert teacher_harness.runner.wait(60.0)
    assert runs == [1, 1], "the pause was forgotten"
