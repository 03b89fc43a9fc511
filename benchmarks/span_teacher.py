"""The part `teacher` of `make bench-spans`: the strict F1 score that a teacher's spans add, by human sentences.

    python -m benchmarks.span_teacher [--seeds 5] [--save]

The teacher of wnut17 is a large language model, whose replies to 260 train sentences are read from ../shared/data. The
model may have met the set in training. Teachers with wrong spans are made from its replies or from the gold labels.
Human sentences are drawn from the other train sentences; the threshold of drafts is chosen on train sentences without a
label. Test sentences are used to measure only; the method was chosen on other train sentences.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.arms import spread
from benchmarks.span_drafts import BUDGETS, Priors, SpanBench
from ml_backend.core.arrays import Rows


def by_sentences(bench: SpanBench, seeds: int) -> Iterator[str]:
    """Yields the table of the F1 score by the number of human sentences."""
    teachers: dict[str, Callable[[int], Rows | None]] = {
        "no teacher": lambda _seed: None,
        "recorded replies": lambda _seed: bench.recorded,
        "recorded replies, half of the spans moved": bench.recorded_with_moved_spans,
        "gold spans, half of them moved": lambda s: bench.with_wrong_spans(bench.gold, s, moved=True),
        "gold spans, half of them with the next label": lambda s: bench.with_wrong_spans(bench.gold, s, moved=False),
    }
    yield from ("## By human sentences", "")
    yield "| teacher | " + " | ".join(map(str, BUDGETS)) + " |"
    yield "|---" * (len(BUDGETS) + 1) + "|"
    for name, predictions in teachers.items():
        scores: dict[int, list[float]] = {n: [] for n in BUDGETS}
        used = dict.fromkeys(BUDGETS, 0)
        for seed in range(seeds):
            (rows, unlabelled), predicted = bench.shuffled(seed), predictions(seed)
            priors = {} if predicted is None else bench.distil(predicted, bench.drafted, unlabelled)
            for n in BUDGETS:
                fit = bench.fit(rows[:n], priors, unlabelled)
                scores[n].append(bench.score(fit.tensors, bench.test))
                used[n] += fit.prior != ""
        cells = [spread(scores[n]) + (f" ({used[n]} of {seeds})" if priors else "") for n in BUDGETS]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield from ("", "In brackets: in how many of the seeds the held-out human sentences have chosen the prior.", "")


def by_agreement(bench: SpanBench, seeds: int) -> Iterator[str]:
    """Yields the table with human sentences that are among the drafted ones, so that the agreement is measured."""
    yield from ("## Human sentences among the teacher's", "")
    yield "| 50 human sentences of the 260, the teacher's labels of the others | F1 |"
    yield "|---|---|"
    teachers: dict[str, Callable[[int], Rows]] = {
        "recorded replies": lambda _seed: bench.recorded,
        "recorded replies, half of the spans moved": bench.recorded_with_moved_spans,
    }
    scores: dict[str, list[float]] = {"no teacher": []}
    for seed in range(seeds):
        _, unlabelled = bench.shuffled(seed)
        order = np.random.default_rng(seed).permutation(len(bench.drafted))
        human, others = order[:50], order[50:]
        rows = bench.drafted[human]
        fit = bench.fit(rows, {}, unlabelled)
        scores["no teacher"].append(bench.score(fit.tensors, bench.test))
        for name, predictions in teachers.items():
            predicted = predictions(seed)
            compared = predicted[human], bench.targets[rows]
            for weighting, of_humans in (("pooled", None), ("weighted by agreement", compared)):
                priors = bench.distil(predicted[others], bench.drafted[others], unlabelled, of_humans)
                fit = bench.fit(rows, priors, unlabelled)
                scores.setdefault(f"{name}, {weighting}", []).append(bench.score(fit.tensors, bench.test))
    yield from (f"| {name} | {spread(of_arm)} |" for name, of_arm in scores.items())
    yield ""


def times(bench: SpanBench) -> Iterator[str]:
    """Yields the CPU seconds of distilling and of fits with and without a prior, with the held-out predictions."""
    rows, unlabelled = bench.shuffled(0)
    start = time.process_time()
    priors = bench.distil(bench.recorded, bench.drafted, unlabelled)
    yield from ("## CPU seconds", "", f"Distilling 260 sentences: {time.process_time() - start:.1f} s.", "")
    yield from ("| sentences | prior | cold | warm, with one sentence more |", "|---|---|---|---|")
    for n in (50, 499):
        of_teachers: dict[str, Priors] = {"none": {}, "of the teacher": priors}
        for name, of_name in of_teachers.items():
            start = time.process_time()
            cold = bench.fit(rows[:n], of_name, unlabelled)
            of_cold, start = time.process_time() - start, time.process_time()
            bench.fit(rows[: n + 1], of_name, unlabelled, cold.tensors)
            yield f"| {n} | {name} | {of_cold:.2f} | {time.process_time() - start:.2f} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a teacher's spans add.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the tables to benchmarks/<date>-span-teacher.md")
    arguments = parser.parse_args()
    bench = SpanBench()
    lines = ["# What a teacher's spans add: wnut17, strict F1 of the test sentences in percent", ""]
    for part in (by_sentences(bench, arguments.seeds), by_agreement(bench, arguments.seeds), times(bench)):
        for line in part:
            print(line, flush=True)
            lines.append(line)
    if arguments.save:
        file = Path(__file__).parent / f"{datetime.datetime.now(datetime.UTC).date()}-span-teacher.md"
        file.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
