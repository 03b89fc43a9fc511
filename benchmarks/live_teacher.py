"""A part of `make bench-teacher`: the demo's questions, and a small language model that is really asked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.arms import BUDGETS, Bench, spread, table
from benchmarks.data import SETS
from ml_backend.core import registry
from ml_backend.core.teacher_types import TeacherOptions
from ml_backend.core.types import content_key
from ml_backend.demo.llama import MODEL, SLOTS, LocalLlama
from ml_backend.teacher import prompts

ASKED = 300


def live(seeds: int) -> Iterator[str]:
    """SmolLM2 (135M) behind llama.cpp labels 300 of the TREC questions."""
    which = SETS["trec"]()
    bench = Bench(which)
    rows = registry.acquisition("coverage").select(bench.pool(), ASKED, 0).rows
    texts = [which.train[row].text for row in rows]
    with tempfile.TemporaryDirectory() as folder, LocalLlama(Path(folder) / "llama.log") as server:
        options = TeacherOptions(MODEL, server.url, timeout=300.0, concurrency=SLOTS)
        teacher = registry.teacher("openai", options)
        assert teacher is not None
        asked = [prompts.label(bench.schema, content_key(text), text, teacher.name, {}) for text in texts]
        begin = time.monotonic()
        answers = {answer.question: answer for answer in teacher.answer(asked)}
        seconds = time.monotonic() - begin
    calls = [call for answer in answers.values() for call in answer.calls]
    given = [place for place, each in enumerate(asked) if answers[each.id].shares is not None]
    shares = np.stack([answers[asked[place].id].shares for place in given])  # type: ignore[misc]
    rows = rows[given]
    right = float((shares.argmax(axis=1) == bench.y[rows]).mean())
    yield (
        f"## TREC, really asked: SmolLM2 (135M), {len(given)} of {ASKED} labels, {100 * right:.1f} % of them right\n\n"
        f"{len(calls)} calls, {sum(call.input_tokens for call in calls):,} and "
        f"{sum(call.output_tokens for call in calls):,} tokens, {seconds:.0f} s.\n"
    )
    priors = bench.distil(rows, shares)
    free = np.setdiff1d(np.arange(len(bench.x)), rows)
    drawn = [
        [np.random.default_rng([seed, n]).choice(free, n, replace=False) for seed in range(seeds)] for n in BUDGETS
    ]
    yield table(
        ["arm", *map(str, BUDGETS)],
        [
            [name, *(spread([bench.fit(some, given, seed) for seed, some in enumerate(each)]) for each in drawn)]
            for name, given in (("human labels alone", {}), ("distillation", priors))
        ],
    )
    yield f"Of the prior by itself: {bench.prior(priors, 'labels'):.1f}.\n"
