"""Rounds of EvoKD on spans by batch files, with the commands that a user types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from authors import SpanAuthor, rounds_of
from fake_label_studio import FakeLabelStudio
from projects import set_up
from span_evolving import confused, teacher
from span_project import fake_encoder, server
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.settings import Settings
from ml_backend.kinds.spans.values import spans_of
from ml_backend.storage import Store

__all__ = ["confused", "fake_encoder", "server", "teacher"]

PARAMS = {"teacher": "batch", "teacher_model": "small", "teacher_input_price": 1.0, "teacher_output_price": 10.0}
Run = Callable[..., str]


@pytest.fixture
def run(confused: FakeLabelStudio, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the project, whose teacher is asked by file; returns the output of a command that succeeds."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    set_up(store, 5, extra_params=PARAMS)

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(main.app, [*arguments, "--project", "5"])
        assert result.exit_code == 0, f"{result.output}{result.exception or ''}"
        return result.output

    return call


def line_of(question: str, content: Any) -> str:
    """A line of a batch file with a reply."""
    body = {
        "model": "small-1", "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
        "choices": [{"message": {"role": "assistant", "content": json.dumps(content)}, "finish_reason": "stop"}],
    }  # fmt: skip
    return json.dumps({"custom_id": question, "response": {"status_code": 200, "body": body}, "error": None})


def replied(run: Run, store: Store, author: SpanAuthor, folder: Path) -> list[str]:
    """Exports the waiting questions, and imports the author's replies. Returns the purposes of the questions."""
    requests, replies = folder / f"requests{len(author.asked)}.jsonl", folder / f"replies{len(author.asked)}.jsonl"
    run("teach", "--export", str(requests))
    ids = [json.loads(line)["custom_id"] for line in requests.read_text(encoding="utf-8").splitlines()]
    questions = store.questions.with_ids(5, ids)
    lines = [line_of(answer.question, answer.content) for answer in author.answer(questions)]
    replies.write_text("\n".join(lines), encoding="utf-8")
    assert run("teach", "--import", str(replies)) == f"{len(ids)} answered.\n"
    return [question.purpose for question in questions]


def test_a_round_on_spans_takes_three_files_and_keeps_the_spans_of_the_replies(
    run: Run, store: Store, tmp_path: Path
) -> None:
    author = SpanAuthor()
    evolve = ("evolve", "--rounds", "1", "--per-round", "6", "--train-directly")
    purposes = []
    for n in (1, 1, 12):
        output = run(*evolve)
        assert f"waiting for {n} answer" in output
        assert output.strip().endswith("apprentice teach --project 5 --export FILE")
        purposes.append(replied(run, store, author, tmp_path))
    assert purposes == [["diagnose"], ["write"], ["label"] * 12]
    output = run(*evolve)
    assert output.startswith("Round 1\n") and "It misses places." in output and "12 texts written" in output
    (round_,) = rounds_of(store)
    assert round_.done and round_.used == len(round_.texts) > 0
    for text in round_.texts:
        marked = {(text.text[start:end], label) for start, end, label in spans_of(text.label)}
        assert marked == {(span["text"], span["label"]) for span in author.reply(text.text)["spans"]}
    ledger = run("ledger")
    assert all(purpose in ledger for purpose in ("diagnose", "write", "label"))


def test_tasks_of_the_pool_are_labelled_by_file(run: Run, store: Store, tmp_path: Path) -> None:
    author = SpanAuthor()
    evolve = ("evolve", "--rounds", "1", "--per-round", "2", "--from-pool")
    assert "waiting for 6 answers" in run(*evolve)
    assert replied(run, store, author, tmp_path) == ["label"] * 6
    assert "6 tasks of the pool labelled" in run(*evolve)
    (round_,) = rounds_of(store)
    assert any(spans_of(text.label) for text in round_.texts)
