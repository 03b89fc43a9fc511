"""EvoKD on spans with a small language model that is really asked, SmolLM2 (135M) behind llama.cpp.

python -m benchmarks.span_evolving_live [--context 4096] [--rounds 2] [--per-round 4]
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import table
from benchmarks.span_evolving import Author, Run, SpanBench, measure
from benchmarks.span_sets import load
from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.demo.llama import MODEL, PARALLEL_REQUESTS, REQUEST_TOKENS, LocalLlama
from ml_backend.rendering.evolution_text import round_lines
from ml_backend.simulation.cached_teacher import PROJECT_ID
from ml_backend.simulation.simulated_teacher import EVOLVE
from ml_backend.storage import Spending, Store
from ml_backend.teacher.evolution.generated_texts import EvolutionRound

HUMAN = 100  # annotated sentences
MAX_REPLY_SECONDS = 600.0


def calls_table(store: Store) -> str:
    """The calls so far, by purpose: their outcomes, and the means of tokens and seconds."""
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for call in store.ledger.calls(PROJECT_ID):
        calls[call["purpose"]].append(call)
    rows = []
    for purpose, of_purpose in calls.items():
        outcomes = [call["outcome"] for call in of_purpose]
        counts = [str(outcomes.count(name)) for name in ("answered", "malformed", "refused", "failed")]
        means = [np.mean([call[name] for call in of_purpose]) for name in ("input_tokens", "output_tokens", "seconds")]
        rows.append([purpose, str(len(of_purpose)), *counts, *(f"{mean:.0f}" for mean in means)])
    names = ["calls", "answered", "malformed", "refused", "failed", "tokens read", "tokens written", "seconds a call"]
    return table(["for", *names], rows)


def see(store: Store, rounds: Sequence[EvolutionRound]) -> None:
    """Prints the calls so far, and the latest round with its texts."""
    print(calls_table(store), *round_lines(rounds[-1], Spending()), *rounds[-1].texts, sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures texts that SmolLM2 writes about spans.")
    parser.add_argument("--context", type=int, default=REQUEST_TOKENS, help="teacher_context")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--per-round", type=int, default=4)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    bench = SpanBench(load("wnut17"))
    run = Run("wnut17", HUMAN, 0.0, (EVOLVE,), arguments.rounds, arguments.per_round)
    with tempfile.TemporaryDirectory() as folder, LocalLlama(Path(folder) / "llama.log") as server:
        defaults = ProjectSettings(teacher="openai", teacher_model=MODEL, teacher_context=arguments.context)
        settings = Settings(
            defaults=defaults,
            teacher_url=server.url,
            teacher_timeout=MAX_REPLY_SECONDS,
            teacher_concurrency=PARALLEL_REQUESTS,
        )
        teacher = registry.teacher(defaults.teacher, settings.teacher_options(defaults))
        assert teacher is not None
        for calls, f1 in measure(bench, run, EVOLVE, 0, Author(teacher, settings, see)):
            print(f"strict F1 {f1:.1f} after {calls:.0f} calls", flush=True)


if __name__ == "__main__":
    main()
