"""The teacher works ahead of the queue, beside the rounds, and the loop goes on without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio
from rounds import MakeRound, active, learn, queue
from scripted_teacher import ScriptedTeacher

from ml_backend import registry
from ml_backend.cycle import run_round
from ml_backend.domain import Answer, Question, TaskSchema, TeacherUnavailable
from ml_backend.jobs import teaching as module
from ml_backend.jobs.teaching import Teaching
from ml_backend.settings import Settings
from ml_backend.store import Store


class School:
    """The dealings of a worker with a teacher, moved on by the test; its pool is that of the rounds."""

    def __init__(
        self, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, teacher: ScriptedTeacher
    ) -> None:
        import threading

        self.stop = threading.Event()
        self.teaching = Teaching(settings, store, self.stop)
        self.store, self.server, self.teacher = store, server, teacher
        self.make_round = make_round
        self.work = make_round(server)
        store.projects.update(5, connection={"ml": 1})

    def step(self) -> None:
        self.teaching._not_before = 0.0
        self.teaching.step({5: self.work.pool})
        if self.teaching._running:
            self.teaching._running.result()

    def finish(self) -> None:
        """Until nothing is left to ask or to distil."""
        for _ in range(60):
            before = (len(self.teacher.asked), self.store.projects.ensure(5).prior)
            self.step()
            if before == (len(self.teacher.asked), self.store.projects.ensure(5).prior):
                return
        pytest.fail("it never came to an end")

    def round(self) -> None:
        run_round(self.make_round(self.server))

    def state(self) -> dict[str, Any]:
        return self.store.projects.ensure(5).teacher or {}


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> ScriptedTeacher:
    scripted = ScriptedTeacher()
    monkeypatch.setattr(registry, "teacher", lambda *_: scripted)
    return scripted


@pytest.fixture
def school(
    taught: dict[int, str], settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound,
    teacher: ScriptedTeacher, options: Any,
) -> School:  # fmt: skip
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20)
    return School(settings, store, server, make_round, teacher)


def test_the_queues_head_is_asked_about_first_then_cues_then_further_tasks_up_to_the_number_set(
    school: School,
) -> None:
    head = [school.server.tasks[task]["data"]["text"] for task in queue(school.server)[:5]]
    school.finish()
    assert [each.purpose for each in school.teacher.asked[:7]] == [*["label"] * 5, "describe", "label"]
    assert school.teacher.texts()[:5] == head
    assert len(school.teacher.texts()) == 20 == len(set(school.teacher.texts()))
    cues = school.store.projects.ensure(5).cues
    assert cues is not None and cues["fruit"]["description"] == "about a fruit"
    assert all("about a metal" in each.instructions for each in school.teacher.asked[6:])


def test_a_teacher_that_gives_no_cues_labels_all_the_same(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = school.teacher.answer

    def no_cues(questions: Sequence[Question]) -> Iterator[Answer]:
        yield from answer([each for each in questions if each.purpose == "label"])

    monkeypatch.setattr(school.teacher, "answer", no_cues)
    for _ in range(2):  # it waits for cues in vain once
        school.finish()
    assert len(school.teacher.texts()) == 20 and school.store.projects.ensure(5).cues is None


def test_the_prompt_shows_answers_of_the_annotators(school: School, taught: dict[int, str]) -> None:
    school.finish()
    shown = [pair for each in school.teacher.asked if each.purpose == "label" for pair in each.examples]
    answered = {
        school.server.tasks[each["task"]]["data"]["text"]: taught[each["task"]] for each in school.server.annotations()
    }
    assert shown and all(reply == f'{{"label": "{answered[text]}"}}' for text, reply in shown)


def test_no_task_is_asked_about_that_has_an_answer_or_is_of_the_audit_slice(
    school: School, options: Any, store: Store
) -> None:
    options(queue_size=12, audit_share=0.4, teacher_ahead=12, teacher_labels=60)
    school.round()
    audited = store.versions.audited(5)
    school.finish()
    asked = set(school.teacher.texts())
    kept_out = [*audited, *(each["task"] for each in school.server.annotations())]
    assert audited and not asked & {school.server.tasks[task]["data"]["text"] for task in kept_out}


def test_what_it_said_is_never_asked_again_not_even_by_another_process(
    school: School, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound,
    teacher: ScriptedTeacher,
) -> None:  # fmt: skip
    school.finish()
    n = len(teacher.asked)
    School(settings, store, server, make_round, teacher).finish()
    assert len(teacher.asked) == n
    school.round()
    school.finish()  # another head of the queue
    assert len({each.id for each in teacher.asked}) == len(teacher.asked)


def test_its_labels_and_cues_become_a_prior_and_the_next_round_starts_from_it(school: School, store: Store) -> None:
    school.finish()
    kept = store.projects.ensure(5).prior
    waiting = {school.server.tasks[task]["data"]["text"] for task in queue(school.server)}
    taught = set(school.teacher.texts()) - waiting  # those on the queue will soon judge what was taught
    assert kept is not None and kept["made_of"]["cues"] > 0
    assert 0 < kept["made_of"]["taught"] == len(taught) < 20
    assert store.jobs.state(5).waiting
    school.round()
    from ml_backend import knowledge

    learner, _ = knowledge.load_best(store, active(store), "fake")
    assert learner is not None and learner.lesson.prior == kept["sha256"]
    assert learner.prior_errors["labels and cues"] < 1


def test_a_draft_of_the_teacher_stands_where_it_is_surer_and_the_region_says_whose_it_is(
    school: School, options: Any, taught: dict[int, str]
) -> None:
    school.teacher.sure = 1.0
    options(queue_size=12, audit_share=0.0, teacher_ahead=12, teacher_labels=0)
    school.finish()
    school.round()
    rows = school.server.current_predictions()
    told = [row["result"][0]["meta"]["text"][0] for row in rows]
    assert {said.split("'s")[0] for said in told} <= {"teacher", "learner"}
    shown = {each.task: each for each in school.store.shown.of(5, active(school.store).name)}
    for row, said in zip(rows, told, strict=True):
        assert shown[row["task"]].author == said.split("'s")[0]
        assert row["result"][0]["value"]["choices"] == list(shown[row["task"]].choices)


def test_a_teacher_that_is_not_there_is_left_alone_for_longer_and_longer_and_the_reason_is_kept(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = module.now()
    monkeypatch.setattr(module, "now", lambda: moment)
    school.teacher.silent = TeacherUnavailable("nobody listens at the endpoint")
    pauses = []
    for _ in range(12):
        school.step()
        assert school.state()["problem"] == "nobody listens at the endpoint"
        pauses.append(school.state()["until"] - moment)
        moment = school.state()["until"]
    assert pauses[:3] == [5.0, 10.0, 20.0] and pauses[-1] == module.LONGEST_PAUSE
    school.teacher.silent = None
    moment += 1
    school.finish()
    assert school.state()["problem"] == "" and len(school.teacher.texts()) == 20


def test_it_is_asked_again_when_it_said_it_would_be_there(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = module.now()
    monkeypatch.setattr(module, "now", lambda: moment)
    school.teacher.silent = TeacherUnavailable("too many requests", retry_after=33.0)
    school.step()
    assert school.state()["until"] == moment + 33


def test_a_spent_budget_is_told_and_the_rounds_go_on(
    school: School, options: Any, single: TaskSchema, taught: dict[int, str], store: Store
) -> None:
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20, teacher_daily_calls=4)
    school.finish()
    assert len(school.teacher.asked) == 4 and "teacher_daily_calls" in school.state()["problem"]
    learn(school.server, taught, single, 5)
    store.projects.update(5, reconciled_at=0.0)
    school.round()
    assert active(store).labelled == 35


def test_the_unexpected_is_told_by_its_kind_alone(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("the text of a task")

    monkeypatch.setattr(school.teacher, "answer", fail)
    school.step()
    assert school.state()["problem"] == "asking the teacher failed (ZeroDivisionError)"


def test_cues_that_a_person_wrote_are_learnt_from_without_any_teacher(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    school.step()
    assert store.projects.ensure(5).prior is None
    store.projects.update(5, cues={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    school.step()
    kept = store.projects.ensure(5).prior
    assert kept is not None and (kept["made_of"]["taught"], kept["made_of"]["cues"]) == (0, 4), (
        "with the names of three labels"
    )
    school.step()
    assert store.projects.ensure(5).prior == kept


def test_cues_that_were_edited_or_taken_away_are_taught_anew_even_if_there_are_as_many(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    kept = []
    for phrase in ("apple pear plum", "iron copper zinc", "iron copper zinc", ""):
        cues = {"fruit": {"description": "", "cues": [[phrase, 9]]}} if phrase else {}
        store.projects.update(5, cues=cues)
        school.step()
        kept.append((store.projects.ensure(5).prior or {})["number"])
    assert kept == [1, 2, 2, 3]
    school.round()
    from ml_backend import knowledge

    learner, _ = knowledge.load_best(store, active(store), "fake")
    assert learner is not None and learner.started_from == ""


def test_cues_of_a_person_are_never_replaced_by_the_teachers(school: School, store: Store) -> None:
    mine = {"fruit": {"description": "my words", "cues": []}}
    store.projects.update(5, cues=mine)
    school.finish()
    assert store.projects.ensure(5).cues == mine and not school.teacher.texts("describe")


def test_a_teacher_that_is_asked_by_file_is_asked_nothing_and_everything_waits_for_an_export(
    school: School, options: Any, store: Store, taught: dict[int, str]
) -> None:
    options(queue_size=12, audit_share=0.0, teacher="batch", teacher_ahead=5, teacher_labels=40)
    for _ in range(6):
        school.step()
    waiting = store.questions.waiting(5)
    assert school.teacher.asked == [] and store.questions.counts(5, "scripted") == {
        ("describe", "waiting"): 1, ("label", "waiting"): 40,
    }  # fmt: skip
    answered = {school.server.tasks[each["task"]]["data"]["text"] for each in school.server.annotations()}
    texts = {each.text for each in waiting if each.purpose == "label"}
    assert len(texts) == 40 and not texts & answered
    assert school.state()["problem"] == ""


def test_another_teacher_is_told_nothing_of_the_problems_of_the_one_before(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.teacher.silent = TeacherUnavailable("the key is wrong", fatal=True)
    school.step()
    assert (school.state()["name"], school.state()["problem"]) == ("scripted", "the key is wrong")
    other = ScriptedTeacher()
    other.name = "another"
    monkeypatch.setattr(registry, "teacher", lambda *_: other)
    school.step()
    assert (school.state()["name"], school.state()["problem"]) == ("another", "") and other.asked
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    school.step()
    assert school.store.projects.ensure(5).teacher is None


def test_a_budget_that_does_not_reach_for_the_next_question_is_told_until_it_does(
    school: School, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"queue_size": 12, "audit_share": 0.0, "teacher_ahead": 5, "teacher_labels": 8}
    options(**values, teacher_input_price=1.0, teacher_daily_budget=1e-6)
    school.finish()
    assert not school.teacher.asked and "does not reach" in school.state()["problem"]
    assert "teacher_daily_budget" in school.state()["problem"]
    options(**values, teacher_daily_budget=1.0)
    school.finish()
    assert school.teacher.asked and school.state()["problem"] == ""


def test_what_was_wrong_is_forgotten_when_nothing_is_left_to_be_asked(school: School, options: Any) -> None:
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=4, teacher_daily_calls=5)
    school.finish()
    assert "teacher_daily_calls" in school.state()["problem"]
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=4, teacher_daily_calls=0)
    school.finish()
    assert school.state()["problem"] == "" and len(school.teacher.asked) == 5


def test_a_project_that_cannot_be_taught_is_left_alone_for_a_while_and_told_by_the_kind_of_error_alone(
    school: School, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = []

    def fail(*_: object) -> None:
        looks.append(1)
        raise ZeroDivisionError("the text of a task")

    monkeypatch.setattr(module, "recall", fail)
    for _ in range(3):
        school.step()
    said = capsys.readouterr().out
    assert looks == [1] and "ZeroDivisionError" in said and "the text" not in said


def test_cues_that_name_a_label_that_is_gone_are_learnt_from_all_the_same(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    store.projects.update(5, cues={"fruit": {"description": "", "cues": [["a stone fruit", -5, "stone"]]}})
    school.step()
    kept = store.projects.ensure(5).prior
    assert kept is not None and kept["made_of"]["cues"] == 4
