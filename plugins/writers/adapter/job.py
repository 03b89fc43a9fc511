"""Fine-tunes an adapter and generates drafts in a process of its own, at a low priority.

    python -m plugins.writers.adapter.job < job.json

The job is one JSON object on the standard input, the results are JSON objects on the standard output, one a line: no
text is written to a file. SIGTERM ends the process after the current step, from which the same job continues.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

from ml_backend.core.arrays import Tensors
from ml_backend.core.draft_checks import draft_problem, rules_of
from ml_backend.core.exceptions import ApprenticeError
from plugins.writers.adapter.base_model import BaseModel, load_base
from plugins.writers.adapter.fine_tuning import encoded_pairs, epochs_from, fine_tune
from plugins.writers.adapter.generation import generate
from plugins.writers.adapter.lora import load_adapter, with_adapter
from plugins.writers.adapter.memory import limit_memory
from plugins.writers.adapter.prompts import Prompts
from plugins.writers.adapter.training import TrainingPlan

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What to train, and what to draft.

    model           a hub's name, a folder or a `.gguf` file
    cache           folder for converted models
    instruction     what to write, as a sentence
    accepted        sources, their accepted texts and the weights of the pairs; no draft has a phrase of them
    adapter         file that the new adapter is written to; "": none is trained
    checkpoint      file for the state of the training
    earlier         file of the adapter to start from, or to draft with; "": none
    sources         the texts to draft for
    demonstrations  for each source, the rows of `accepted` that the model is shown before it; empty: none
    threads         of torch
    nice            what the priority of the process is lowered by
    """

    model: str
    cache: str
    instruction: str
    accepted: list[tuple[str, str, float]] = field(default_factory=list)
    adapter: str = ""
    checkpoint: str = ""
    earlier: str = ""
    sources: list[str] = field(default_factory=list)
    demonstrations: list[list[int]] = field(default_factory=list)
    seed: int = 0
    threads: int = 1
    nice: int = 10

    def columns(self) -> tuple[list[str], list[str], list[float]]:
        """The sources, the accepted texts and the weights of `accepted`."""
        sources, texts, weights = ([pair[i] for pair in self.accepted] for i in range(3))
        return sources, texts, weights  # type: ignore[return-value]


def read_job(content: str) -> Job:
    """A job from JSON. Keys that it does not have are ignored."""
    values = json.loads(content)
    return Job(**{item.name: values[item.name] for item in fields(Job) if item.name in values})


def run_job(job: Job, report: Report, is_stopped: Callable[[], bool]) -> None:
    """Reports `step`, `steps` and `loss` after each step of the fine-tuning; `adapter`, the file, at its end; then
    `row`, `draft` and `doubt` for each source; a draft that has a problem is "". Reports nothing more once it is
    stopped. Raises ApprenticeError if the model cannot be loaded or memory does not suffice."""
    from safetensors.numpy import load_file

    base = load_base(job.model, Path(job.cache))
    prompts = Prompts(base.tokenizer, base.is_seq2seq, job.instruction)
    earlier: Tensors | None = load_file(job.earlier) if job.earlier else None
    model = base.model
    if job.adapter:
        model = _fine_tuned(job, base, prompts, earlier, report, is_stopped)
        if model is None:
            return
    elif earlier is not None:
        model = with_adapter(base, job.seed)
        load_adapter(base, model, earlier)
    sources, texts, _ = job.columns()
    shown = [[(sources[row], texts[row]) for row in rows] for rows in job.demonstrations] or None
    rules = rules_of(sources, texts)
    for draft in generate(
        base, model, prompts, job.sources, demonstrations=shown, may_continue=lambda: not is_stopped()
    ):
        is_usable = not draft_problem(draft.text, job.sources[draft.row], rules, may_leak=True)
        report({"row": draft.row, "draft": draft.text if is_usable else "", "doubt": draft.doubt})


def _fine_tuned(
    job: Job,
    base: BaseModel,
    prompts: Prompts,
    earlier: Tensors | None,
    report: Report,
    is_stopped: Callable[[], bool],
) -> Any:
    """The model with its adapter, which is in the file now; None if the job was stopped."""
    from safetensors.numpy import save_file

    def may_continue(step: int, n_steps: int, loss: float) -> bool:
        report({"step": step, "steps": n_steps, "loss": loss})
        return not is_stopped()

    pairs = encoded_pairs(prompts, *job.columns())
    plan = TrainingPlan(epochs_from(earlier), job.seed)
    checkpoint = Path(job.checkpoint)
    result = fine_tune(base, pairs, plan, checkpoint, earlier=earlier, may_continue=may_continue)
    if result is None:
        return None
    model, tensors = result
    file = Path(job.adapter)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".writing")
    save_file(tensors, temporary)
    temporary.replace(file)
    checkpoint.unlink(missing_ok=True)
    report({"adapter": job.adapter})
    return model


def main(source: TextIO = sys.stdin, target: TextIO = sys.stdout) -> int:
    """Runs the job of the standard input. A problem is reported as `problem`, a sentence."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))

    def report(event: Mapping[str, Any]) -> None:
        target.write(json.dumps(event) + "\n")
        target.flush()

    try:
        job = read_job(source.read())
        os.nice(job.nice)
        import torch

        torch.set_num_threads(job.threads)
        if not torch.cuda.is_available():
            limit_memory()
        run_job(job, report, lambda: bool(stopped))
    except ApprenticeError as error:
        report({"problem": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
