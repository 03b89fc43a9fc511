"""The process that fine-tunes and generates: what it reads, what it reports, and how it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_language_models import CHAT_TEMPLATE, save_llama

from ml_backend.core.exceptions import ApprenticeError
from plugins.writers.adapter import job as job_module
from plugins.writers.adapter.generation import GeneratedText
from plugins.writers.adapter.job import Job, read_job, run_job
from plugins.writers.adapter.prompts import Prompts

COMMAND = [sys.executable, "-m", "plugins.writers.adapter.job"]
ACCEPTED = [(f"the {name} is bad", f"the {name} is fine", 1.0) for name in ("cat", "dog", "tea", "road", "song")] * 4
SOURCES = ["the egg is bad", "the cat is bad"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("job") / "model", CHAT_TEMPLATE)


def job_of(model: Path, folder: Path, **changed: Any) -> dict[str, Any]:
    job = {
        "model": str(model),
        "cache": str(folder / "cache"),
        "instruction": "Write it.",
        "accepted": ACCEPTED,
        "adapter": str(folder / "adapter.safetensors"),
        "checkpoint": str(folder / "checkpoint"),
        "sources": SOURCES,
    }
    return {**job, **changed}


def run(job: Mapping[str, Any], is_stopped: Any = lambda: False) -> list[Mapping[str, Any]]:
    events: list[Mapping[str, Any]] = []
    run_job(read_job(json.dumps(job)), events.append, is_stopped)
    return events


def test_a_job_reports_its_steps_then_the_adapter_then_the_drafts(model: Path, tmp_path: Path) -> None:
    events = run(job_of(model, tmp_path))
    n_steps = 4 * 3  # epochs, of 20 pairs in steps of 8
    assert [event.get("step") for event in events] == [*range(1, n_steps + 1), None, None, None]
    assert events[n_steps] == {"adapter": str(tmp_path / "adapter.safetensors")}
    assert {event["row"] for event in events[-2:]} == {0, 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter.safetensors"]


def test_an_earlier_adapter_drafts_without_training(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.safetensors"
    trained = run(job_of(model, tmp_path))
    again = run(job_of(model, tmp_path, adapter="", earlier=str(adapter)))
    assert again == trained[-2:]
    assert run(job_of(model, tmp_path, adapter=""))[-2:] != again


def test_a_later_training_starts_from_the_earlier_adapter_with_fewer_epochs(model: Path, tmp_path: Path) -> None:
    run(job_of(model, tmp_path))
    later = job_of(model, tmp_path, earlier=job_of(model, tmp_path)["adapter"], adapter=str(tmp_path / "later"))
    steps = [event for event in run(later) if "step" in event]
    assert len(steps) == 2 * 3


def test_few_shot_shows_the_accepted_texts_and_trains_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    prompt = Prompts.prompt

    def record(self: Prompts, source: str, demonstrations: Any = ()) -> list[int]:
        shown.append((source, [*demonstrations]))
        return prompt(self, source, demonstrations)

    monkeypatch.setattr(Prompts, "prompt", record)
    events = run(job_of(model, tmp_path, adapter="", demonstrations=[[0, 2], [1]]))
    assert [event["row"] for event in events if "row" in event] == [event["row"] for event in events]
    assert shown == [
        (SOURCES[0], [ACCEPTED[0][:2], ACCEPTED[2][:2]]),
        (SOURCES[1], [ACCEPTED[1][:2]]),
    ]


def test_a_draft_that_repeats_itself_or_an_accepted_text_is_dropped(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(*arguments: Any, **options: Any) -> Iterator[GeneratedText]:
        yield GeneratedText(0, "bad " * 20, 0.5)
        yield GeneratedText(1, "what a long road it was", 0.25)
        yield GeneratedText(2, "it is fine", 0.125)

    monkeypatch.setattr(job_module, "generate", generate)
    accepted = [*ACCEPTED, ("bad road", "oh what a long road", 1.0)]
    events = run(job_of(model, tmp_path, adapter="", accepted=accepted, sources=["it is bad"] * 3))
    assert [event["draft"] for event in events] == ["", "", "it is fine"]
    assert [event["doubt"] for event in events] == [0.5, 0.25, 0.125]


def test_a_stopped_job_reports_no_adapter_and_continues_later(model: Path, tmp_path: Path) -> None:
    whole = run(job_of(model, tmp_path / "whole", adapter=str(tmp_path / "whole.safetensors")))
    first = run(job_of(model, tmp_path), is_stopped=lambda: True)
    assert [event["step"] for event in first] == [1]
    second = run(job_of(model, tmp_path))
    assert second[0]["step"] == 2
    assert second[-2:] == whole[-2:]
    expected, adapter = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "adapter.safetensors")
    assert all(np.array_equal(tensor, adapter[name]) for name, tensor in expected.items())


def test_a_job_that_cannot_run_raises_a_message(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ApprenticeError, match="cannot be loaded"):
        run(job_of(tmp_path / "missing", tmp_path))


def test_unknown_keys_of_a_job_are_ignored() -> None:
    assert read_job('{"model": "m", "cache": "c", "instruction": "i", "later": 1}') == Job("m", "c", "i")


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_continues_the_job_when_it_is_started_again(model: Path, tmp_path: Path) -> None:
    job = json.dumps(job_of(model, tmp_path, accepted=ACCEPTED * 4, nice=0))
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job)
        process.stdin.close()
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 0
    last = [first, *rest][-1]
    assert last["step"] < last["steps"]
    done = subprocess.run(COMMAND, input=job, capture_output=True, text=True, check=True, timeout=200)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["step"] == last["step"] + 1
    assert {event["row"] for event in events[-2:]} == {0, 1}


@pytest.mark.slow
def test_a_process_reports_why_it_cannot_run(tmp_path: Path) -> None:
    job = json.dumps(job_of(tmp_path / "missing", tmp_path))
    done = subprocess.run(COMMAND, input=job, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    assert "cannot be loaded" in json.loads(done.stdout)["problem"]
