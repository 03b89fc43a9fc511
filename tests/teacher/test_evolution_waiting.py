"""A round of EvoKD that comes to nothing, is cut off or must wait: the same command goes on from there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from authors import Author, rounds_of, synthetic
from fake_label_studio import FakeClient, FakeLabelStudio
from projects import synthetic_tasks
from round_fixtures import MakeRound
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.cli import teacher as commands
from ml_backend.core.exceptions import ApprenticeError, RepliesAwaitedError, StoreError, UnreachableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.kinds import reply_problems
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.teacher.descriptions import description_prompts
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import POOL, TAUGHT
from ml_backend.teacher.project_context import ProjectContext, load_project_context


def test_a_step_without_a_usable_reply_ends_the_round_without_an_error(
    evolving: Callable[..., EvolutionRun], teacher: Author
) -> None:
    teacher.failing = {"diagnose", "write"}
    (round_,) = evolving().run(1)
    assert "Labels that it confuses:" in round_.weaknesses, "the figures stand for the words"
    assert (round_.written, round_.texts, round_.used, round_.done) == (0, (), 0, True)
    teacher.failing = {"label"}
    (round_,) = evolving().run(1)
    assert (round_.number, dict(round_.dropped), round_.done) == (2, {reply_problems.UNUSABLE: 12}, True)


@pytest.mark.parametrize("calls", [0, 1, 2, 8, 14, 20])
def test_a_round_resumes_where_it_was_interrupted_and_asks_nothing_twice(
    evolving: Callable[..., EvolutionRun], teacher: Author, confused: FakeLabelStudio, calls: int
) -> None:
    teacher.calls = calls
    with pytest.raises(
        RepliesAwaitedError, match=r"waiting for \d+ answers?; the same command goes on from here \(it went away\)"
    ):
        list(evolving().run(2))
    confused.annotate(max(confused.tasks), "metal")  # the world goes on meanwhile
    teacher.calls = 10**6
    numbers = [round_.number for round_ in evolving().run(2)]
    assert numbers == ([2] if calls >= 14 else [1, 2])
    ids = [question.id for question in teacher.asked]
    assert len(ids) == len(set(ids)) == 28
    assert len(synthetic(confused)) == 12 == len({data["text"] for data in synthetic(confused).values()})


def test_the_tasks_shown_are_those_of_the_stored_question_however_late_its_answer_comes(
    evolving: Callable[..., EvolutionRun],
    teacher: Author,
    confused: FakeLabelStudio,
    store: Store,
    make_round: MakeRound,
) -> None:
    teacher.calls = 0
    with pytest.raises(RepliesAwaitedError):
        list(evolving(TAUGHT).run(1))
    (asked,) = store.questions.waiting(5, "scripted")
    quoted = set(rounds_of(store)[0].shown)
    assert quoted and all(confused.tasks[task]["data"]["text"] in asked.text for task in quoted)
    others = [annotation for annotation in confused.annotations() if annotation["task"] not in quoted]
    for annotation in others[:6]:  # the learner of the next round is mistaken in other tasks
        confused.change_annotation(annotation["id"], "metal")
    run_round(make_round(confused))
    teacher.calls = 2
    with pytest.raises(RepliesAwaitedError):
        list(evolving(TAUGHT).run(1))
    _, writing = teacher.asked
    (round_,) = rounds_of(store)
    assert round_.weaknesses and quoted <= set(round_.shown)
    assert all(confused.tasks[task]["data"]["text"] in writing.text for task in set(round_.shown) - quoted)


def test_a_spent_budget_makes_the_round_wait_and_names_the_setting(
    evolving: Callable[..., EvolutionRun], options: Callable[..., None], teacher: Author
) -> None:
    options(teacher_daily_calls=19)
    with pytest.raises(RepliesAwaitedError, match=r"waiting for 9 answers.*teacher_daily_calls 19"):
        list(evolving().run(1))
    options(teacher_daily_calls=0)
    assert [round_.done for round_ in evolving().run(1)] == [True] and len(teacher.asked) == 14


def test_after_an_interruption_behind_the_import_no_text_becomes_two_tasks(
    evolving: Callable[..., EvolutionRun], confused: FakeLabelStudio, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.tasks.put

    def die(*_: object, **__: object) -> int:
        raise UnreachableError("killed")

    first = evolving()
    monkeypatch.setattr(store.tasks, "put", die)
    with pytest.raises(UnreachableError):
        list(first.run(1))
    assert len(synthetic(confused)) == 6 and not rounds_of(store)[-1].done
    monkeypatch.setattr(store.tasks, "put", put)
    (round_,) = evolving().run(1)
    assert round_.used == 6 == len(synthetic(confused))


def test_if_an_import_returns_no_task_ids_the_next_round_reads_the_tasks(
    evolving: Callable[..., EvolutionRun], confused: FakeLabelStudio, store: Store, make_round: MakeRound,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    answer = confused.answer
    monkeypatch.setattr(
        confused, "answer", lambda method, path, body, _: answer(method, path, body, _ if method == "GET" else {})
    )
    (round_,) = evolving().run(1)
    assert round_.used == 6 and not synthetic_tasks(store, 5)
    run_round(make_round(confused))
    assert synthetic_tasks(store, 5) == sorted(synthetic(confused))


def test_a_waiting_round_is_resumed_after_rounds_of_another_teacher_or_kind(
    evolving: Callable[..., EvolutionRun], teacher: Author, store: Store
) -> None:
    teacher.calls = 3
    with pytest.raises(RepliesAwaitedError):
        list(evolving().run(1))
    paid = len(teacher.asked)
    teacher.calls, teacher.name = 10**6, "another"
    (round_,) = evolving().run(1)
    assert (round_.number, round_.teacher, round_.done) == (2, "another", True)
    teacher.name = "scripted"
    assert [round_.number for round_ in evolving(POOL, per_round=2).run(2)] == [3, 4]
    (round_,) = evolving(TAUGHT).run(3)
    assert (round_.number, round_.teacher, round_.way, round_.done) == (1, "scripted", TAUGHT, True), (
        "it goes on in another way"
    )
    assert [round_.number for round_ in rounds_of(store)] == [1, 2, 3, 4]
    ids = [question.id for question in teacher.asked]
    assert paid == 3 and len(ids) == len(set(ids)), "nothing was asked twice"


def test_the_command_prints_each_round_and_where_it_waits(
    confused: FakeLabelStudio, settings: Settings, store: Store, teacher: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("APPRENTICE_DEFAULTS", '{"synthetic_share": 0.2, "teacher": "openai", "teacher_model": "m"}')
    monkeypatch.setattr(commands, "make_client", lambda _: FakeClient(confused))

    def run(*more: str) -> str:
        done = CliRunner().invoke(main.app, ["evolve", "--project", "5", "--per-round", "6", *more])
        assert done.exit_code == ("waiting for" in done.stdout), done.output
        return done.stdout

    teacher.calls = 18
    output = run("--rounds", "2")
    assert "Round 1" in output and "It is weak." in output
    assert "12 texts written, 12 kept, dropped: none; 6 became tasks" in output
    assert (
        "before it was trained on them, the learner had" in output and "14 calls, 1400 + 140 tokens, cost 0" in output
    )
    assert "waiting for 10 answers; the same command goes on from here (it went away)" in output
    teacher.calls = 10**6
    assert "Round 2" in run("--rounds", "2")
    assert "tasks of the pool labelled" in run("--rounds", "1", "--from-pool")
    assert "are used for training directly" in run("--rounds", "1", "--train-directly")
    both = CliRunner().invoke(main.app, ["evolve", "--project", "5", "--from-pool", "--train-directly"])
    assert both.exit_code == 2


def test_for_a_teacher_that_cannot_be_asked_the_error_names_the_settings(
    taught: dict[int, str], settings: Settings, store: Store
) -> None:
    context: ProjectContext = load_project_context(settings, store, 5)
    with pytest.raises(ApprenticeError, match="'similarity', which can be asked nothing: set `teacher`"):
        context.teacher_client()


@pytest.mark.parametrize("name", ["batch", "openai"])
def test_a_teacher_without_a_model_is_an_error_before_a_round_begins(
    evolving: Callable[..., EvolutionRun], options: Callable[..., None], store: Store, name: str
) -> None:
    options(teacher=name, teacher_model="")
    with pytest.raises(ApprenticeError, match=rf"The teacher of project 5 \({name}\) has no model: set teacher_model"):
        evolving()
    assert rounds_of(store) == () and store.questions.all(5) == []


def test_waiting_questions_of_the_round_and_of_the_loop_are_counted_separately(
    evolving: Callable[..., EvolutionRun], teacher: Author, store: Store, single: ProjectSchema
) -> None:
    teacher.calls = 0
    question = description_prompts.description_question(single.controls[0], ["a text"], "scripted")
    store.questions.add(5, "scripted", [(question, None)])
    with pytest.raises(
        RepliesAwaitedError, match="waiting for 1 answer to this round, beside 1 question of the loop; the same"
    ):
        list(evolving().run(1))
    assert len(store.questions.waiting(5, "scripted")) == 2


def test_two_commands_cannot_run_rounds_of_one_project_at_once_and_none_loses_rounds(
    evolving: Callable[..., EvolutionRun], store: Store
) -> None:
    first, second = evolving(TAUGHT).run(2), evolving(TAUGHT)
    assert next(first).number == 1
    with pytest.raises(StoreError, match="Another `apprentice evolve` is running on project 5"):
        next(second.run(1))
    assert next(first).number == 2 and next(first, None) is None
    assert [round_.number for round_ in second.run(1)] == [3]
    assert [round_.number for round_ in rounds_of(store)] == [1, 2, 3]
