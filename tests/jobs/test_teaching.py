"""The teacher works ahead of the queue, beside the rounds, and the loop goes on without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from fake_label_studio import WORDS, FakeLabelStudio
from rounds import MakeRound, active, learn, queue
from scripted_teacher import ScriptedTeacher

from ml_backend import knowledge, registry
from ml_backend.cycle import run_round
from ml_backend.domain import Answer, Call, Question, TaskSchema, Taught, TeacherUnavailable
from ml_backend.jobs import teaching as module
from ml_backend.jobs.teaching import Teaching
from ml_backend.label_studio.config import read_schema
from ml_backend.label_studio.connect import _forget
from ml_backend.pool import ProjectPool
from ml_backend.settings import ProjectSettings, Settings
from ml_backend.store import Store
from ml_backend.teaching import ahead, cues, prior, recall
from ml_backend.teaching.sight import see


class School:
    """The dealings of a worker with a teacher, moved on by the test; its pool is that of the rounds."""

    def __init__(
        self, settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, teacher: ScriptedTeacher
    ) -> None:
        self.teaching = Teaching(settings, store)
        self.store, self.server, self.teacher = store, server, teacher
        self.make_round = make_round
        self.work = make_round(server)
        store.projects.update(5, connection={"ml": 1})

    def step(self) -> None:
        self.teaching._not_before = 0.0
        self.teaching.step({5: self.work.pool})
        if self.teaching._running:
            self.teaching._running.join()

    def finish(self) -> None:
        """Until nothing is left to ask or to distil."""
        for _ in range(60):
            before = self.come_to()
            self.step()
            if before == self.come_to():
                return
        pytest.fail("it never came to an end")

    def come_to(self) -> tuple[object, ...]:
        record = self.store.projects.ensure(5)
        return len(self.teacher.asked), record.prior, record.cues

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
    made = School(settings, store, server, make_round, teacher)
    made.step()  # what the labels' names say is learnt before anybody is asked
    return made


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
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20, teacher_daily_calls=18)
    school.finish()
    assert len(school.teacher.asked) == 4 and "teacher_daily_calls" in school.state()["problem"]
    learn(school.server, taught, single, 5)
    store.projects.update(5, reconciled_at=0.0)
    school.round()
    assert active(store).labelled == 35


def test_cues_that_are_too_dear_do_not_stand_in_the_way_of_labels(school: School, options: Any) -> None:
    options(
        queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=20, teacher_probabilities="stated",
        teacher_output_price=1000.0, teacher_daily_budget=1.0,
    )  # fmt: skip
    for _ in range(2):
        school.finish()
    assert len(school.teacher.texts()) == 20 and not school.teacher.texts("describe")


def test_the_unexpected_is_told_by_its_kind_alone(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("the text of a task")

    monkeypatch.setattr(school.teacher, "answer", fail)
    school.step()
    assert school.state()["problem"] == "asking the teacher failed (ZeroDivisionError)"


def test_what_labels_are_called_and_cues_that_a_person_wrote_are_learnt_without_any_teacher(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    school.step()
    kept = store.projects.ensure(5).prior
    assert kept is not None and (kept["made_of"]["taught"], kept["made_of"]["cues"]) == (0, 3)
    school.round()
    learner, _ = knowledge.load_best(store, active(store), "fake")
    assert learner is not None and learner.prior_errors.keys() == {"none", "cues"}
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
    assert kept == [2, 3, 3, 4]
    school.round()
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


def test_what_it_said_of_the_labels_is_adopted_whenever_there_are_no_cues_and_never_asked_again(
    school: School, store: Store
) -> None:
    school.finish()
    cues, asked = store.projects.ensure(5).cues, len(school.teacher.asked)
    for lost in range(2):  # killed before they were kept, or another project of this number
        store.projects.update(5, cues=None, prior=None)
        school.finish()
        assert store.projects.ensure(5).cues == cues, lost
    store.projects.update(5, cues={})
    school.finish()
    assert store.projects.ensure(5).cues == {}, "somebody has taken them away"
    assert len(school.teacher.asked) == asked


def test_what_it_said_of_the_labels_is_of_no_use_if_it_does_not_fit_and_others_go_on(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = school.teacher.answer

    def misfit(questions: Sequence[Question]) -> Iterator[Answer]:
        for each in answer(questions):
            if each.content and "labels" in each.content:
                each.content["labels"][0]["label"] = "stone"
            yield each

    monkeypatch.setattr(school.teacher, "answer", misfit)
    school.finish()
    assert len(school.teacher.texts()) == 20 and school.store.projects.ensure(5).cues is None
    assert school.teacher.texts("describe") != [] and school.state()["problem"] == ""


def test_another_project_of_the_number_gets_neither_prior_nor_word_of_the_one_before(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    distil = prior.distil

    def meanwhile(*args: Any, **more: Any) -> Any:
        _forget(store, 5)
        store.projects.update(5, made_at="2026-11-22", published="apprentice-1-new")
        return distil(*args, **more)

    monkeypatch.setattr(prior, "distil", meanwhile)
    store.projects.update(5, cues={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    school.step()
    record = store.projects.ensure(5)
    assert (record.made_at, record.prior, record.teacher) == ("2026-11-22", None, None)
    assert not (store.artifacts._folder / "5").exists() or not list((store.artifacts._folder / "5").glob("prior*"))


def test_cues_of_a_project_that_is_gone_are_not_given_to_the_next_one(school: School, store: Store) -> None:
    school.finish()
    store.projects.update(5, cues=None)
    record, schema = store.projects.ensure(5), read_schema(store.projects.ensure(5).label_config)
    store.projects.update(5, made_at="2026-11-22")
    assert not cues.recover(store, record, schema, "scripted") and store.projects.ensure(5).cues is None
    assert cues.recover(store, store.projects.ensure(5), schema, "scripted")


def test_all_that_takes_time_is_done_in_the_thread(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def noting(name: str, of: Any) -> None:
        real = getattr(of, name)
        monkeypatch.setattr(
            of, name, lambda *args, **more: (threads.add(threading.current_thread().name), real(*args, **more))[1]
        )

    for name, of in (
        ("recall", module),
        ("gather", prior),
        ("further", ahead),
        ("label", ahead),
        ("load_best", knowledge),
    ):
        noting(name, of)
    school.finish()
    assert threads == {"teach"}


def test_the_thread_sees_the_pool_as_it_was_and_adds_nothing_to_it(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, record = school.work.pool, store.projects.ensure(5)
    pool.encoded[:] = False
    seen = see(pool, record, ProjectSettings(), None, ())
    pool.ensure(np.arange(3))
    assert not seen.pool.encoded.any() and int(pool.encoded.sum()) == 3
    monkeypatch.setattr(pool._encoder, "encode", lambda *_: pytest.fail("the thread encodes"))
    asked = ahead.label(store, seen.pool, record, seen.schema, None, "another", pool.tasks)
    assert len(asked) == 90


def test_a_look_copies_no_vectors_of_the_pool_for_a_prior_that_is_not_due(
    school: School, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "teacher", lambda *_: None)
    store.projects.update(5, cues={"fruit": {"description": "", "cues": [["apple pear plum", 9]]}})
    school.step()
    kept = store.projects.ensure(5).prior
    monkeypatch.setattr(ProjectPool, "encoded_view", lambda _: pytest.fail("the vectors are copied"))
    store.projects.update(5, tasks_revision=99)
    school.step()
    assert kept and store.projects.ensure(5).prior == kept and not school.teaching._left_alone


def test_what_was_chosen_is_asked_before_others_are_chosen(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    further, chosen = ahead.further, []
    monkeypatch.setattr(ahead, "further", lambda *args: (chosen.append(1), further(*args))[1])
    school.finish()
    assert len(school.teacher.texts()) == 20 and len(chosen) == 1


def test_what_it_drops_makes_room_for_others(school: School, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = school.teacher.answer

    def picky(questions: Sequence[Question]) -> Iterator[Answer]:
        for each in questions:
            if each.purpose == "label" and each.text.split()[0] not in WORDS["fruit"]:
                call = Call("m", 0.1, 100, 10, "malformed")
                school.teacher.asked.append(each)
                yield Answer(each.id, None, None, (call,), "no JSON")
            else:
                yield from answer([each])

    monkeypatch.setattr(school.teacher, "answer", picky)
    monkeypatch.setattr(ahead, "PORTION", 4)
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=15)
    school.finish()
    counts = school.store.questions.counts(5, "scripted")
    assert counts["label", "answered"] == 15 and counts["label", "dropped"] > 4
    assert len(set(school.teacher.texts())) == len(school.teacher.texts())


def test_labels_that_were_given_for_other_labels_than_there_are_now_do_not_count(
    school: School, options: Any, store: Store
) -> None:
    options(queue_size=12, audit_share=0.0, teacher_ahead=0, teacher_labels=6)
    school.finish()
    assert len(school.teacher.texts()) == 6
    config = store.projects.ensure(5).label_config
    store.projects.update(
        5, label_config=config.replace("<Choice ", '<Choice value="stone"/><Choice ', 1), tasks_revision=99
    )
    school.finish()
    assert len(school.teacher.texts()) == 12
    assert sum("stone" in each.labels for each in school.teacher.asked) == 6


def test_a_prior_whose_artifact_is_gone_is_made_anew(school: School, store: Store) -> None:
    school.finish()
    kept = store.projects.ensure(5).prior or {}
    store.artifacts.remove(kept["file"])
    school.finish()
    found = store.projects.ensure(5).prior or {}
    assert found["number"] == kept["number"] + 1 and store.artifacts.read(found["file"], found["sha256"])


def test_two_workers_with_the_same_record_leave_a_prior_that_can_be_read(school: School, store: Store) -> None:
    school.finish()
    record = store.projects.ensure(5)
    schema, pool, encoder = read_schema(record.label_config), school.work.pool, registry.encoder("fake")
    nothing = Taught(np.empty((0, encoder.dim), np.float32), np.empty((0, 3), np.float32), np.empty(0, np.float32))
    given = prior.gather(pool, record, "logistic", schema, recall.nothing(schema), nothing)
    prior.make(store, record, given, schema, encoder)
    first = store.projects.ensure(5).prior or {}
    prior.make(store, record, given, schema, encoder)
    second = store.projects.ensure(5).prior or {}
    assert (second["number"], second["file"] != first["file"]) == (first["number"] + 1, True)
    assert store.artifacts.read(second["file"], second["sha256"])
    assert len(list((store.artifacts._folder / "5").glob("prior*"))) == 1


def test_a_worker_that_stops_keeps_what_is_on_its_way_but_waits_for_no_server_that_hangs(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on, answer = threading.Event(), threading.Event(), school.teacher.answer

    def slow(questions: Sequence[Question]) -> Iterator[Answer]:
        asked.set()
        go_on.wait(30)
        yield from answer(questions)

    monkeypatch.setattr(school.teacher, "answer", slow)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    school.teaching._not_before = 0.0
    school.teaching.step({5: school.work.pool})
    assert asked.wait(30)
    school.teaching.stop()
    assert school.teaching._running is not None
    assert school.teaching._running.is_alive() and school.teaching._running.daemon
    go_on.set()
    monkeypatch.setattr(module, "STOP_SECONDS", 30.0)
    school.teaching.stop()
    assert len(school.store.questions.replies(5, "scripted")) == 5
