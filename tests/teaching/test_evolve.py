"""Rounds of EvoKD with a teacher that writes from a script: what is asked, kept, dropped, imported, taught, resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from fake_label_studio import WORDS, FakeClient, FakeLabelStudio, fill, flood
from rounds import MakeRound
from scripted_teacher import ScriptedTeacher
from typer.testing import CliRunner

from ml_backend import cli, registry
from ml_backend.commands import teacher as commands
from ml_backend.cycle import run_round
from ml_backend.domain import (
    SYNTHETIC,
    Answer,
    ApprenticeError,
    Call,
    Example,
    Question,
    TaskSchema,
    TeacherUnavailable,
)
from ml_backend.label_studio.client import Unreachable
from ml_backend.label_studio.synthetic import add_written
from ml_backend.settings import Settings
from ml_backend.store import Store
from ml_backend.teaching import prior, questions, recall, sieve, steps, written
from ml_backend.teaching.evolve import Evolving, Waiting
from ml_backend.teaching.site import Site, visit
from ml_backend.teaching.written import EASY, HARD, POOL, TASKS, TAUGHT, Round, Text


class Author(ScriptedTeacher):
    """Writes texts of three known words, of each label in turn, another set every round; `calls` are answered before
    it goes away. `refuses`: a word whose texts are ambiguous to it."""

    def __init__(self, calls: int = 10**6, refuses: str = "") -> None:
        super().__init__()
        self.calls, self.refuses = calls, refuses
        self.extra: list[str] = []
        self.failing: set[str] = set()

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for each in questions:
            if len(self.asked) >= self.calls:
                raise TeacherUnavailable("it went away")
            call = Call("m", 0.1, 100, 10, "answered")
            if each.purpose in self.failing:
                self.asked.append(each)
                yield Answer(each.id, None, None, (Call("m", 0.1, 100, 10, "malformed"),), "no JSON")
            elif each.purpose == "diagnose":
                self.asked.append(each)
                pattern = {"labels": ["fruit", "metal"], "weakness": "mixed up", "advice": "say more"}
                yield Answer(each.id, {"summary": "It is weak.", "patterns": [pattern]}, None, (call,))
            elif each.purpose == "write":
                self.asked.append(each)
                n = sum(1 for asked in self.asked if asked.purpose == "write")
                hard = [*self.extra, *(text_of(i, 10 * n) for i in range(6))]
                yield Answer(each.id, {"hard": hard, "easy": [text_of(i, 10 * n + 5) for i in range(6)]}, None, (call,))
            elif self.refuses and self.refuses in each.text.split():
                self.asked.append(each)
                shares = np.full(len(each.labels), 0.1, np.float32)
                shares[-1] = 0.7
                yield Answer(each.id, {"label": steps.REFUSAL}, shares, (call,))
            else:
                yield from super().answer([each])


def text_of(i: int, salt: int) -> str:
    """Of the label i % 3, like no other."""
    words = list(WORDS.values())[i % 3].split()
    return f"{words[i % 7]} {words[(i + salt) % 7]} new{i} also{salt}"


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Author:
    author = Author()
    monkeypatch.setattr(registry, "teacher", lambda *_: author)
    return author


@pytest.fixture
def confused(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], single: TaskSchema, store: Store,
    teacher: Author,
) -> FakeLabelStudio:  # fmt: skip
    """A project of 120 tasks, 60 answered, of which four animals are called metals: the learner errs on those."""
    options(queue_size=12, audit_share=0.0, synthetic_share=0.2)
    truth = fill(server, 120)
    store.projects.update(5, connection={"ml": 1})
    run_round(make_round(server))
    answered = list(truth)[:60]
    odd = [task for task in answered if truth[task] == "animal"][:4]
    flood(server, truth, single, [task for task in answered if task not in odd])
    for task in odd:
        server.annotate(task, "metal")
    run_round(make_round(server))
    return server


@pytest.fixture
def evolving(confused: FakeLabelStudio, settings: Settings, store: Store) -> Callable[..., Evolving]:
    client = FakeClient(confused)

    def make(way: str = TASKS, per_round: int = 6) -> Evolving:
        site = visit(settings, store, 5)

        def send(texts: Mapping[str, str], since: str) -> Sequence[Example]:
            return add_written(client, 5, site.schema, texts, since)

        return Evolving(site, site.desk(), way, per_round, send)

    return make


def rounds_of(store: Store) -> tuple[Round, ...]:
    return written.read(store.projects.ensure(5))


def synthetic(server: FakeLabelStudio) -> dict[int, Any]:
    return {number: task["data"] for number, task in server.tasks.items() if SYNTHETIC in task["data"]}


def test_a_round_diagnoses_writes_labels_examines_and_then_makes_tasks(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    (one,) = evolving().run(1)
    assert [each.purpose for each in teacher.asked] == ["diagnose", "write", *["label"] * 12]
    assert "animal" in teacher.asked[0].text and "It is weak." in one.weaknesses and "say more" in one.weaknesses
    assert "It is weak." in teacher.asked[1].text
    assert all("label" not in text for text in teacher.texts("write")), "texts are written without labels"
    assert (one.written, len(one.texts), dict(one.dropped), one.used, one.done) == (12, 12, {}, 6, True)
    assert one.score(HARD)[1] == one.score(EASY)[1] == 6
    tasks = synthetic(confused)
    assert len(tasks) == 6
    assert sorted(data[SYNTHETIC] for data in tasks.values()) == ["easy"] * 3 + ["hard"] * 3
    assert {data["text"] for data in tasks.values()} == {each.text for each in one.texts[:6]}
    assert store.tasks.synthetic(5).tolist() == sorted(tasks)
    assert store.jobs.state(5).waiting
    spent = store.ledger.spent_on(5, [each for ids in one.asked.values() for each in ids])
    assert (spent.calls, spent.input_tokens) == (14, 1400)


def test_the_student_is_examined_before_it_is_taught_and_that_is_the_next_rounds_feedback(
    evolving: Callable[..., Evolving], teacher: Author
) -> None:
    first, second = evolving(TAUGHT).run(2)
    writes = [each for each in teacher.asked if each.purpose == "write"]
    assert '"feedback": ""' in writes[0].text
    right, n = first.score(HARD)
    assert f"Round 1: it got {right} of {n} hard texts right" in writes[1].text
    assert first.texts[0].text in writes[1].text
    assert {each.text for each in second.texts}.isdisjoint(each.text for each in first.texts)
    for each in (*first.texts, *second.texts):
        assert each.right == (each.said == each.label)


def test_what_is_taught_directly_is_no_task_and_stays_among_what_is_taught(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    first, second = evolving(TAUGHT).run(2)
    assert not synthetic(confused) and first.used == second.used == 12
    site = visit(settings, store, 5)
    nobody = recall.nothing(site.schema)
    taught = written.taught(store, site.encoder, site.record, site.schema, nobody, "scripted")
    texts = [each for one in (first, second) for each in one.texts]
    assert len(taught.vectors) == 24 and (taught.weights == 1).all()
    assert np.allclose(taught.vectors, site.encoder.encode([each.text for each in texts]), atol=2e-3)
    said = [site.schema.labels[row.argmax()] for row in taught.targets]
    assert said == [each.label[0] for each in texts]
    given = prior.gather(site.pool, site.record, "logistic", site.schema, nobody, taught)
    assert given.origin.taught == len(given.taught.vectors) == 24


def test_the_learner_of_the_next_round_has_been_taught_the_texts_of_the_last(
    evolving: Callable[..., Evolving], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    distil = prior.distil
    monkeypatch.setattr(
        prior,
        "distil",
        lambda given, *rest, **more: (sizes.append(given.origin.taught), distil(given, *rest, **more))[1],
    )
    assert len(list(evolving(TAUGHT).run(2))) == 2
    assert sizes == [0, 12]


def test_what_is_unfit_is_dropped_for_a_reason_that_is_told(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio
) -> None:
    known = next(iter(confused.tasks.values()))["data"]["text"]
    teacher.extra = ["", "  ", "iron " * 200, known, text_of(0, 10)]
    teacher.refuses = "zinc"
    (one,) = evolving(TAUGHT, per_round=11).run(1)
    unclear = sum("zinc" in text.split() for text in {text_of(i, salt) for i in range(6) for salt in (10, 15)})
    assert unclear and one.written == 17
    assert dict(one.dropped) == {
        sieve.EMPTY: 2, sieve.LENGTH: 1, sieve.ALIKE_TASK: 1, sieve.ALIKE_WRITTEN: 1, steps.REFUSED: unclear,
    }  # fmt: skip
    assert len(one.texts) == 17 - 5 - unclear


def test_an_unsure_label_is_none(evolving: Callable[..., Evolving], teacher: Author) -> None:
    teacher.sure = 0.55
    (one,) = evolving(TAUGHT).run(1)
    assert not one.texts and dict(one.dropped) == {steps.UNSURE: 12} and one.used == 0


def test_a_step_that_comes_to_nothing_ends_the_round_and_not_the_command(
    evolving: Callable[..., Evolving], teacher: Author
) -> None:
    teacher.failing = {"diagnose", "write"}
    (one,) = evolving().run(1)
    assert "Labels that it confuses:" in one.weaknesses, "the figures stand for the words"
    assert (one.written, one.texts, one.used, one.done) == (0, (), 0, True)
    teacher.failing = {"label"}
    (one,) = evolving().run(1)
    assert (one.number, dict(one.dropped), one.done) == (2, {steps.UNUSABLE: 12}, True)


@pytest.mark.parametrize("calls", [0, 1, 2, 8, 14, 20])
def test_wherever_it_is_cut_off_the_same_command_goes_on_from_there_and_nothing_is_asked_twice(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio, calls: int
) -> None:
    teacher.calls = calls
    with pytest.raises(Waiting, match=r"waiting for \d+ answers; the same command goes on from here \(it went away\)"):
        list(evolving().run(2))
    confused.annotate(max(confused.tasks), "metal")  # the world goes on meanwhile
    teacher.calls = 10**6
    numbers = [one.number for one in evolving().run(2)]
    assert numbers == ([2] if calls >= 14 else [1, 2])
    ids = [each.id for each in teacher.asked]
    assert len(ids) == len(set(ids)) == 28
    assert len(synthetic(confused)) == 12 == len({data["text"] for data in synthetic(confused).values()})


def test_a_spent_budget_makes_it_wait_and_says_which(
    evolving: Callable[..., Evolving], options: Callable[..., None], teacher: Author
) -> None:
    options(teacher_daily_calls=19)
    with pytest.raises(Waiting, match=r"waiting for 9 answers.*teacher_daily_calls 19"):
        list(evolving().run(1))
    options(teacher_daily_calls=0)
    assert [one.done for one in evolving().run(1)] == [True] and len(teacher.asked) == 14


def test_killed_after_the_import_no_text_becomes_two_tasks(
    evolving: Callable[..., Evolving], confused: FakeLabelStudio, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.tasks.put

    def die(*_: object, **__: object) -> int:
        raise Unreachable("killed")

    first = evolving()
    monkeypatch.setattr(store.tasks, "put", die)
    with pytest.raises(Unreachable):
        list(first.run(1))
    assert len(synthetic(confused)) == 6 and not rounds_of(store)[-1].done
    monkeypatch.setattr(store.tasks, "put", put)
    (one,) = evolving().run(1)
    assert one.used == 6 == len(synthetic(confused))


def test_a_label_studio_that_does_not_tell_the_new_numbers_brings_the_tasks_with_the_next_round(
    evolving: Callable[..., Evolving], confused: FakeLabelStudio, store: Store, make_round: MakeRound,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    answer = confused.answer
    monkeypatch.setattr(
        confused, "answer", lambda method, path, body, _: answer(method, path, body, _ if method == "GET" else {})
    )
    (one,) = evolving().run(1)
    assert one.used == 6 and not len(store.tasks.synthetic(5))
    run_round(make_round(confused))
    assert store.tasks.synthetic(5).tolist() == sorted(synthetic(confused))


def test_a_text_becomes_a_task_as_it_was_labelled_and_its_draft_is_the_teachers(
    evolving: Callable[..., Evolving], confused: FakeLabelStudio, store: Store, make_round: MakeRound,
    options: Callable[..., None],
) -> None:  # fmt: skip
    (one,) = evolving().run(1)
    options(queue_size=100, audit_share=0.0)
    run_round(make_round(confused))
    meant = {each.text: each.label for each in one.texts}
    drafts = {each["task"]: each for each in confused.current_predictions()}
    for task, data in synthetic(confused).items():
        (region,) = drafts[task]["result"]
        assert tuple(region["value"]["choices"]) == meant[data["text"]]
        assert region["meta"]["text"][0].startswith("teacher's draft")


def test_the_quota_is_of_the_labelled_tasks_and_a_full_one_is_told_before_anything_is_paid(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio, options: Callable[..., None]
) -> None:
    first, second = evolving().run(2)
    assert (first.used, second.used, len(synthetic(confused))) == (6, 6, 12)
    asked = len(teacher.asked)
    with pytest.raises(ApprenticeError, match=r"as many synthetic tasks as synthetic_share 0.2 allows"):
        list(evolving().run(1))
    assert len(teacher.asked) == asked
    options(synthetic_share=0.25)
    (third,) = evolving().run(1)
    assert third.used == 3 and len(synthetic(confused)) == 15


def test_texts_for_annotators_are_hard_and_easy_in_turn_and_the_students_mistakes_first() -> None:
    texts = [Text(f"{kind}{n}", kind, right=n < 2) for kind in (HARD, EASY) for n in range(3)]
    assert [each.text for each in steps.for_annotators(texts, 4)] == ["hard2", "easy2", "hard0", "easy0"]
    assert len(steps.for_annotators(texts, 10)) == 6


def test_nobody_who_writes_sees_a_text_that_is_measured_by(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    answered = [number for number, task in confused.tasks.items() if task["annotations"]]
    store.versions.draw_audit(5, answered)
    list(evolving(TAUGHT).run(1))
    shown = " ".join(each.text for each in teacher.asked[:2])
    assert not [task for task in answered if f'"{confused.tasks[task]["data"]["text"]}"' in shown.replace('\\"', '"')]


def test_from_the_pool_as_many_tasks_of_the_weak_slices_are_labelled_as_would_have_been_written(
    evolving: Callable[..., Evolving], teacher: Author, confused: FakeLabelStudio, store: Store
) -> None:
    first, second = evolving(POOL, per_round=4).run(2)
    texts = teacher.texts("label")
    assert [each.purpose for each in teacher.asked] == ["label"] * 20 and len(set(texts)) == 20
    assert [each.text for each in (*first.texts, *second.texts)] == texts
    tasks = {task["data"]["text"]: task for task in confused.tasks.values()}
    assert not any(tasks[text]["annotations"] for text in texts)
    assert first.score(POOL)[1] == 10 and "taken for" in first.weaknesses
    assert not synthetic(confused)


def test_the_nearest_to_each_kind_of_mistake_come_in_proportion() -> None:
    angles = np.array([0.0, 0.1, 0.2, 1.5, 1.4, 1.3])
    pool = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    mistakes = [pool[[0]], np.array([[0.0, 1.0]], np.float32)]
    assert steps.nearest(pool, mistakes, 4) == [0, 3, 1, 4]
    assert sorted(steps.nearest(pool, mistakes, 99)) == [0, 1, 2, 3, 4, 5]
    often = np.repeat(pool[[0]], 3, axis=0)
    assert steps.nearest(pool, [often, mistakes[1]], 4) == [0, 1, 2, 3], "three times as often, three times as many"


def test_a_round_that_waits_outlasts_those_of_another_teacher_or_kind_and_limits_none(
    evolving: Callable[..., Evolving], teacher: Author, store: Store
) -> None:
    teacher.calls = 3
    with pytest.raises(Waiting):
        list(evolving().run(1))
    paid = len(teacher.asked)
    teacher.calls, teacher.name = 10**6, "another"
    (one,) = evolving().run(1)
    assert (one.number, one.teacher, one.done) == (2, "another", True)
    teacher.name = "scripted"
    assert [one.number for one in evolving(POOL, per_round=2).run(2)] == [3, 4]
    (one,) = evolving(TAUGHT).run(3)
    assert (one.number, one.teacher, one.way, one.done) == (1, "scripted", TAUGHT, True), "it goes on in another way"
    assert [each.number for each in rounds_of(store)] == [1, 2, 3, 4]
    ids = [each.id for each in teacher.asked]
    assert paid == 3 and len(ids) == len(set(ids)), "nothing was asked twice"


def test_what_another_teacher_taught_is_not_judged_by_the_record_of_this_one(
    evolving: Callable[..., Evolving], store: Store, settings: Settings
) -> None:
    list(evolving(TAUGHT).run(1))
    site = visit(settings, store, 5)
    nobody = recall.nothing(site.schema)
    for teacher, n in (("scripted", 12), ("another", 0), ("", 0)):
        found = written.taught(store, site.encoder, site.record, site.schema, nobody, teacher)
        assert len(found.vectors) == len(found.targets) == len(found.weights) == n


def test_a_cue_without_a_vector_is_named(
    evolving: Callable[..., Evolving], store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.projects.update(5, cues={"fruit": {"description": "", "cues": [["an apple", 9]]}})
    site = visit(settings, store, 5)
    given = prior.gather(
        site.pool, site.record, "logistic", site.schema, recall.nothing(site.schema),
        written.taught(store, site.encoder, site.record, site.schema, recall.nothing(site.schema), ""),
    )  # fmt: skip
    nan = np.full((len(given.phrases.texts), site.encoder.dim), np.nan, np.float32)
    nan[:1] = 0.0
    monkeypatch.setattr(site.encoder, "encode", lambda _: nan)
    with pytest.raises(ApprenticeError, match="gives the cue 'an apple' a vector that is not finite"):
        prior.distil(given, False, site.encoder, 0)


def test_a_refusal_makes_another_question_with_one_more_answer(single: TaskSchema) -> None:
    plain = questions.label(single, b"key", "a text", "t", {})
    free = questions.label(single, b"key", "a text", "t", {}, "unclear")
    assert free.labels == (*single.labels, "unclear") and free.id != plain.id
    assert free.reply["properties"]["label"]["enum"] == list(free.labels) and "unclear" in free.instructions


def test_of_several_labels_none_at_all_is_refused_and_every_decision_must_be_sure(multiple: TaskSchema) -> None:
    asked = [questions.label(multiple, b"key", "a text", "t", {}, steps.REFUSAL)] * 4
    shares = ([0.9, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], [0.9, 0.5, 0.1, 0.1], [0.9, 0.1, 0.1, 0.8])
    answers = [Answer("q", {"label": []}, np.array(row, np.float32)) for row in shares]
    kept, dropped = steps.labelled(multiple, [Text(f"{n}", HARD) for n in range(4)], answers, asked)
    assert [(each.text, each.label) for each in kept] == [("0", ("fruit",))]
    assert dict(dropped) == {steps.REFUSED: 2, steps.UNSURE: 1}


def test_the_command_prints_each_round_and_where_it_waits(
    confused: FakeLabelStudio, settings: Settings, store: Store, teacher: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("APPRENTICE_DEFAULTS", '{"synthetic_share": 0.2}')
    monkeypatch.setattr(commands, "make_client", lambda _: FakeClient(confused))

    def run(*more: str) -> str:
        done = CliRunner().invoke(cli.app, ["evolve", "--project", "5", "--per-round", "6", *more])
        assert done.exit_code == 0, done.output
        return done.stdout

    teacher.calls = 18
    said = run("--rounds", "2")
    assert "Round 1" in said and "It is weak." in said
    assert "12 texts written, 12 kept, dropped: none; 6 became tasks" in said
    assert "before it was taught them, the learner had" in said and "14 calls, 1400 + 140 tokens, cost 0" in said
    assert "waiting for 10 answers; the same command goes on from here (it went away)" in said
    teacher.calls = 10**6
    assert "Round 2" in run("--rounds", "2")
    assert "tasks of the pool labelled" in run("--rounds", "1", "--from-pool")
    assert "are taught directly" in run("--rounds", "1", "--train-directly")
    both = CliRunner().invoke(cli.app, ["evolve", "--project", "5", "--from-pool", "--train-directly"])
    assert both.exit_code == 2


def test_a_teacher_that_can_be_asked_nothing_is_told_with_what_to_set(
    taught: dict[int, str], settings: Settings, store: Store
) -> None:
    site: Site = visit(settings, store, 5)
    with pytest.raises(ApprenticeError, match="'similarity', which can be asked nothing: set `teacher`"):
        site.desk()
