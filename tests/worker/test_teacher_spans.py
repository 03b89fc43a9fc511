"""A teacher marks spans: its drafts, the prior of its labels, the rounds that start from it, and the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_label_studio import FakeLabelStudio
from plugin_overrides import UseTeacher
from projects import set_up
from round_fixtures import MakeRound, active, queue
from schemas import first_of
from scripted_span_teacher import ScriptedSpanTeacher
from span_project import CONFIG, add_tasks, annotate, fake_encoder, sentence, server
from stored_models import load_best_learner
from teacher_harness import TeacherHarness
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.teacher import distillation

__all__ = ["fake_encoder", "server"]  # fixtures
[CONTROL] = read_schema(CONFIG).controls


@pytest.fixture
def teacher(use_teacher: UseTeacher) -> ScriptedSpanTeacher:
    scripted = ScriptedSpanTeacher()
    use_teacher(scripted)
    return scripted


@pytest.fixture
def harness(
    settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, teacher: ScriptedSpanTeacher,
    options: Callable[..., None],
) -> TeacherHarness:  # fmt: skip
    """A project of 90 tasks without an annotation."""
    options(queue_size=12, audit_share=0.0, teacher_ahead=5, teacher_labels=30)
    add_tasks(server, 90)
    run_round(make_round(server))
    return TeacherHarness(settings, store, server, make_round, teacher)


def drafted_words(server: FakeLabelStudio) -> dict[int, set[tuple[str, str]]]:
    """The drafted spans by task, as texts with labels."""
    return {
        row["task"]: {(region["value"]["text"], *region["value"]["labels"]) for region in row["result"]}
        for row in server.current_predictions()
    }


def text_of(server: FakeLabelStudio, task: int) -> str:
    return str(server.tasks[task]["data"]["text"])


def marked_words(server: FakeLabelStudio, task: int) -> set[tuple[str, str]]:
    return set(sentence(task - min(server.tasks))[1])


def test_the_teacher_drafts_before_there_is_a_learner(harness: TeacherHarness, server: FakeLabelStudio) -> None:
    harness.finish()
    harness.round()
    drafts = drafted_words(server)
    drafted = [task for task in drafts if drafts[task]]
    assert drafted and all(drafts[task] == marked_words(server, task) for task in drafted)


def test_a_draft_is_the_teachers_where_it_is_surer_than_the_learner(
    harness: TeacherHarness, server: FakeLabelStudio, teacher: ScriptedSpanTeacher
) -> None:
    teacher.sure = 1.0
    annotate(server, [task for task in server.tasks if not marked_words(server, task)][:2])
    annotate(server, [task for task in server.tasks if marked_words(server, task)][:4])
    harness.round()
    of_learner = drafted_words(server)
    harness.finish()
    harness.round()
    drafts, asked = drafted_words(server), {*teacher.texts()}
    tasks = [task for task in of_learner.keys() & drafts.keys() if text_of(server, task) in asked]
    n_right, n_right_before = (
        sum(of_tasks[task] == marked_words(server, task) for task in tasks) for of_tasks in (drafts, of_learner)
    )
    assert n_right > n_right_before


def test_a_reply_without_spans_that_people_would_argue_about_is_no_draft(
    harness: TeacherHarness, server: FakeLabelStudio, teacher: ScriptedSpanTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "reply", lambda text: {"spans": [], "ambiguous": True})
    harness.finish()
    harness.round()
    assert not any("scripted" in row["model_version"] for row in server.current_predictions() if row["result"])


def test_its_spans_become_a_prior_from_which_the_next_round_starts(
    harness: TeacherHarness, server: FakeLabelStudio, store: Store
) -> None:
    harness.finish()
    annotate(server, queue(server)[:12])
    harness.round()
    harness.finish()
    harness.round()
    annotate(server, [task for task in server.tasks if not server.tasks[task]["annotations"]][:1])
    harness.round()
    prior = first_of(store.projects.ensure(5).distillations)
    assert prior is not None and prior["made_of"]["taught"] >= 5
    learner, _ = load_best_learner(store, active(store), "words-fake")
    assert learner is not None and learner.snapshot.prior == prior["sha256"]
    assert set(learner.prior_errors) == {"none", "labels", "labels and words"}


def test_the_priors_hold_no_whole_texts(harness: TeacherHarness, store: Store) -> None:
    harness.finish()
    priors = distillation.load_priors(store, store.projects.ensure(5), "crf", "words-fake", CONTROL)
    assert priors.tensors.keys() == {"labels", "labels and words"}
    tensors = [tensor for prior in priors.tensors.values() for tensor in prior.values()]
    content = b"".join(tensor.tobytes() for tensor in tensors).lower()
    assert b"went" in content and b"went to" not in content and b"saw nobody" not in content


def test_a_prior_of_other_labels_is_not_used(harness: TeacherHarness, store: Store) -> None:
    harness.finish()
    [other] = read_schema(CONFIG.replace('"Place"', '"Town"')).controls
    assert not distillation.load_priors(store, store.projects.ensure(5), "crf", "words-fake", other).tensors


def test_a_teacher_without_a_usable_reply_gives_no_prior(
    harness: TeacherHarness, store: Store, teacher: ScriptedSpanTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "reply", lambda text: {"spans": "none", "ambiguous": False})
    harness.finish()
    prior = first_of(store.projects.ensure(5).distillations)
    assert prior is not None and prior["made_of"]["taught"] == 0
    assert not distillation.load_priors(store, store.projects.ensure(5), "crf", "words-fake", CONTROL).tensors


def test_the_status_and_the_ledger_count_the_teachers_labels(
    harness: TeacherHarness, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.finish()
    harness.round()
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    lines = dict(status_lines(read_status(store, 5)))
    assert any("scripted" in line for line in lines.values()), lines
    result = CliRunner().invoke(main.app, ["ledger", "--project", "5"])
    assert result.exit_code == 0 and str(len(harness.teacher.asked)) in result.output, result.output


def test_questions_are_exported_and_their_replies_imported(
    harness: TeacherHarness,
    store: Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: FakeLabelStudio,
) -> None:
    set_up(store, 5, extra_params={"teacher": "batch", "teacher_model": "small"})
    harness.finish()
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    file, replies = tmp_path / "questions.jsonl", tmp_path / "replies.jsonl"
    result = CliRunner().invoke(main.app, ["teach", "--project", "5", "--export", str(file)])
    assert result.exit_code == 0, result.output
    questions = [json.loads(line) for line in file.read_text().splitlines()]
    assert questions
    written = []
    for question in questions:
        text = question["body"]["messages"][-1]["content"]
        reply = {"ner": ScriptedSpanTeacher().reply(text)}
        body = {
            "model": "small",
            "choices": [{"message": {"content": json.dumps(reply)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9},
        }
        written.append({"custom_id": question["custom_id"], "response": {"status_code": 200, "body": body}})
    replies.write_text("\n".join(map(json.dumps, written)))
    result = CliRunner().invoke(main.app, ["teach", "--project", "5", "--import", str(replies)])
    assert result.exit_code == 0, result.output
    harness.round()
    assert any(drafted_words(server).values())
