"""`make bench-spans`: how well and how fast spans are learnt, in random order and with the query strategies.

    python -m benchmarks.spans [--parts random active speed] [--sets wnut17 ncbi-disease] [--seeds 5]
                               [--strategies ...] [--save]

The settings of the learner were chosen on train and development texts. The page of 2026-11-30 says how often the test
texts were measured meanwhile.

Runs are kept in the cache folder, so that an interrupted benchmark continues: delete its spans-*.csv after a
change to a strategy or the learner.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks import span_speed
from benchmarks.arms import print_page, spread, table
from benchmarks.span_curves import BATCH, BUDGET, F1, INITIAL, SECONDS, SIZES, SPANS, WORDS, Bench, run
from benchmarks.span_sets import FILES, SpanSet, load
from ml_backend.simulation.learning_curves import Scores, paired_curves
from ml_backend.simulation.statistics import labels_to_target

STRATEGIES = (
    "cluster-uncertainty", "entropy", "least-confidence", "margin", "rep-clun", "d-calm", "typicality", "random",
)  # fmt: skip
RANDOM = "random"
DEFAULT = STRATEGIES[0]
FLOORS = {"wnut17": (14, 22, 28, 34, 39), "ncbi-disease": (38, 49, 56, 61, 70)}
"""Strict F1 in percent that is expected in random order, by number of labelled sentences as in `SIZES`."""
GOALS = {"wnut17": 250, "ncbi-disease": 400}
"""Labels with which the default strategy is expected to reach random order's F1 with 500 labels."""
ALLOWED_LOSS = 1.0  # points of F1 against random order, from 50 labels on
SHOWN = (25, 50, 100, 200, 300, 400, 500)


def random_table(span_set: SpanSet, seeds: int) -> str:
    """F1 in random order beside the floor."""
    measurements = run(Bench(span_set), "random", [RANDOM], seeds)
    budgets, curves = paired_curves(measurements, F1)
    _, times = paired_curves(measurements, SECONDS)
    f1, floors = 100 * curves[RANDOM], FLOORS[span_set.name]
    is_met = ["yes" if mean >= floor else "no" for mean, floor in zip(f1.mean(axis=0), floors, strict=True)]
    rows = [
        ["strict F1", *(spread(list(column)) for column in f1.T)],
        ["floor", *map(str, floors)],
        ["floor met", *is_met],
        ["CPU seconds of a fit from nothing", *(f"{seconds:.2f}" for seconds in np.median(times[RANDOM], axis=0))],
    ]
    assert tuple(budgets) == SIZES
    return f"## {span_set.name}: random order\n\n{table(['labelled sentences', *map(str, SIZES)], rows)}"


def active_table(span_set: SpanSet, strategies: Sequence[str], seeds: int) -> str:
    """F1 of each strategy against sentences, words and spans, and the goals."""
    measurements = run(Bench(span_set), "active", [*strategies, *({RANDOM} - {*strategies})], seeds)
    budgets, f1 = paired_curves(measurements, F1)
    _, words = paired_curves(measurements, WORDS)
    _, spans = paired_curves(measurements, SPANS)
    target = float(f1[RANDOM].mean(axis=0)[-1])
    columns = [budgets.tolist().index(n) for n in SHOWN]
    rows = []
    for name in sorted(f1, key=lambda name: -f1[name].mean()):
        curve = f1[name].mean(axis=0)
        needed = [_needed(amounts.mean(axis=0), curve, target) for amounts in (words[name], spans[name])]
        labels = labels_to_target(budgets, curve, target)
        rows.append(
            [
                f"**{name}**" if name == DEFAULT else name,
                *(f"{100 * curve[column]:.1f}" for column in columns),
                f"{labels:.0f}" if labels else "never",
                *needed,
                f"{words[name].mean(axis=0)[-1]:,.0f}",
                f"{spans[name].mean(axis=0)[-1]:,.0f}",
            ]
        )
    head = [
        "strategy", *map(str, SHOWN), "sentences to random's F1 at the end", "words to it", "spans to it",
        "words at the end", "spans at the end",
    ]  # fmt: skip
    lines = [f"## {span_set.name}: query strategies, seeds: {len(f1[RANDOM])}\n", table(head, rows)]
    if DEFAULT in f1:
        lines.append(_goals(span_set.name, budgets.tolist(), f1))
    return "\n".join(lines)


def _goals(name: str, budgets: Sequence[int], f1: dict[str, Scores]) -> str:
    target = float(f1[RANDOM].mean(axis=0)[-1])
    labels = labels_to_target(np.array(budgets), f1[DEFAULT].mean(axis=0), target)
    loss = 100 * min((f1[DEFAULT] - f1[RANDOM]).mean(axis=0)[budgets.index(50) :])
    is_reached, is_safe = labels is not None and labels <= GOALS[name], loss >= -ALLOWED_LOSS
    return (
        f"- {DEFAULT} reaches random order's F1 at {BUDGET} with {f'{labels:.0f}' if labels else 'no number of'} "
        f"labels; at most {GOALS[name]} expected: {'met' if is_reached else 'missed'}\n"
        f"- {DEFAULT} minus random order, at the worst number of labels from 50 on: {loss:+.1f} points; at most "
        f"{ALLOWED_LOSS} lost: {'met' if is_safe else 'missed'}\n"
    )


def _needed(amounts: Scores, curve: Scores, target: float) -> str:
    """The amount of words or spans at which a curve first reaches the target, between two measurements."""
    reached = np.flatnonzero(curve >= target)
    if not len(reached):
        return "never"
    end = int(reached[0])
    if end == 0:
        return f"{amounts[0]:,.0f}"
    share = (target - curve[end - 1]) / (curve[end] - curve[end - 1])
    return f"{amounts[end - 1] + share * (amounts[end] - amounts[end - 1]):,.0f}"


def pages(parts: Sequence[str], sets: Sequence[str], strategies: Sequence[str], seeds: int) -> Iterator[str]:
    """Yields the tables of each part and set."""
    tables: dict[str, Callable[[SpanSet], str]] = {
        "random": lambda span_set: random_table(span_set, seeds),
        "active": lambda span_set: active_table(span_set, strategies, seeds),
        "speed": span_speed.report,
    }
    for part in parts:
        for name in sets:
            yield tables[part](load(name))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", default=["random", "active", "speed"])
    parser.add_argument("--sets", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the tables beside this file, under today's date")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    today = datetime.datetime.now(datetime.UTC).date()
    head = (
        f"# Spans, {today}\n\n`python -m benchmarks.spans --parts {' '.join(options.parts)} --sets "
        f"{' '.join(options.sets)} --seeds {options.seeds}`. Strict F1 on the official test texts, in percent, with "
        f"95 % intervals over the seeds. The threshold of the drafts comes from texts without a label, never from the "
        f"test texts. Query strategies: {INITIAL} random texts to begin with, the same for all strategies of a seed, "
        f"then {BATCH} at a time; each fit starts from the one before.\n"
    )
    text = "\n".join([head, *pages(options.parts, options.sets, options.strategies, options.seeds)])
    print_page("spans", text, is_saved=options.save)


if __name__ == "__main__":
    main()
