"""A part of `make bench-teacher`: a small language model labels questions of the demo."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.arms import BUDGETS, Bench, spread, table
from benchmarks.data import SETS
from ml_backend.core import registry
from ml_backend.core.teacher_types import LABEL, TeacherOptions
from ml_backend.core.types import content_key
from ml_backend.demo.llama import MODEL, PARALLEL_REQUESTS, LocalLlama
from ml_backend.teacher import prompts

MAX_QUESTIONS = 300


def live(seeds: int) -> Iterator[str]:
    """Measures labels of SmolLM2 (135M), behind llama.cpp, for 300 of the TREC questions."""
    text_set = SETS["trec"]()
    bench = Bench(text_set)
    rows = registry.acquisition("coverage").select(bench.pool(), MAX_QUESTIONS, 0).rows
    texts = [text_set.train[row].text for row in rows]
    with tempfile.TemporaryDirectory() as folder, LocalLlama(Path(folder) / "llama.log") as server:
        options = TeacherOptions(MODEL, server.url, timeout=300.0, concurrency=PARALLEL_REQUESTS)
        teacher = registry.teacher("openai", options)
        assert teacher is not None
        questions = [
            prompts.label_question(
                prompts.LabelPrompt([bench.schema.controls[0]]), content_key(text), text, teacher.name
            )
            for text in texts
        ]
        begin = time.monotonic()
        answers = {answer.question: answer for answer in teacher.answer(questions)}
        seconds = time.monotonic() - begin
    calls = [call for answer in answers.values() for call in answer.calls]
    shares_of_place = {
        place: of_fields[LABEL]
        for place, question in enumerate(questions)
        if (of_fields := answers[question.id].shares) is not None
    }
    labelled, shares = list(shares_of_place), np.stack(list(shares_of_place.values()))
    rows = rows[labelled]
    right = float((shares.argmax(axis=1) == bench.y[rows]).mean())
    yield (
        f"## TREC, really asked: SmolLM2 (135M), {len(labelled)} of {MAX_QUESTIONS} labels, "
        f"{100 * right:.1f} % of them right\n\n"
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
            [
                name,
                *(
                    spread([bench.fit(human_rows, arm_priors, seed) for seed, human_rows in enumerate(draws)])
                    for draws in drawn
                ),
            ]
            for name, arm_priors in (("human labels alone", {}), ("distillation", priors))
        ],
    )
    yield f"Accuracy of the prior alone: {bench.prior(priors, 'labels'):.1f}.\n"
