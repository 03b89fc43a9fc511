"""Builds the tables of `make bench-labels` from stored runs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data import CACHE, DEVELOPMENT, TextSet
from ml_backend.core.settings import ProjectSettings
from ml_backend.simulation.learning_curves import Measurement, paired_curves, read_csv
from ml_backend.simulation.summary import summarise

SHOWN = (25, 50, 100, 200, 300, 400, 500)
DEFAULT = ProjectSettings().with_form_defaults("text").acquisition
MIN_SEEDS = 5  # for a strategy in the tables
UNGROUPED = "none"  # the name of the rows without a group
HEAD = """\
`make bench-labels`: the protocol of `apprentice simulate`. 25 random labels to begin with, the same for all strategies
of a seed, then 25 at a time up to 500; the default learner and encoder, gate included; macro-F1 on test rows, in
hundredths; "area" is the mean over the budgets, "gain" its paired difference with random with a 95 % bootstrap interval
over the seeds. clinc150 is the imbalanced split without out-of-scope rows (groups: the ten domains), davidson and
hatecheck are split 70 : 30 at random (seed 0), hatecheck's groups are the targets of the hate.

Whatever was chosen (the method, its reach and candidates) was chosen on banking77 and TREC. The other three sets were
only measured.
"""


def runs_of(name: str, initial: int) -> Path:
    """Returns the file of a set's runs with this number of initial labels."""
    return CACHE / f"labels-{name}-{initial}.csv"


def read_runs(name: str, initial: int) -> list[Measurement]:
    return [measurement for measurement in read_csv(runs_of(name, initial)) if measurement.group != UNGROUPED]


def document(sets: list[TextSet], peers: list[str], initial: int) -> str:
    """Returns the whole document: the goals, each set, and the runs without initial labels."""
    parts = [HEAD, goals(sets, initial)]
    for text_set in sets:
        runs = read_runs(text_set.name, initial)
        seeds = _seeds(runs)
        parts.append(report(text_set, _paired(runs, [name for name in seeds if len(seeds[name]) >= MIN_SEEDS])))
        seeds_by_name = {name: len(seeds[name]) for name in peers if len(seeds.get(name, ())) < MIN_SEEDS}
        if seeds_by_name:
            descriptions = (
                f"{name} ({n or 'no'} {'seed' if n == 1 else 'seeds'})" for name, n in seeds_by_name.items()
            )
            parts.append(f"Too slow to be compared here: {', '.join(descriptions)}.\n")
    parts.append(cold_start(sets, initial))
    for text_set in sets:
        if runs := read_runs(text_set.name, 0):
            parts.append(
                report(text_set, runs).replace(f"## {text_set.name}", f"### {text_set.name}, from no label", 1)
            )
    return "\n".join(parts)


def goals(sets: list[TextSet], initial: int) -> str:
    lines = [
        "## The goals",
        "",
        "| set | gain over random | labels to random's score at 500, of 500 | worst class at 500: default, random "
        "| worst group at 500: default, random | best other strategy: area, default's area |",
        "|---|---|---|---|---|---|",
    ]
    for text_set in sets:
        runs = read_runs(text_set.name, initial)
        seeds = _seeds(runs)
        runs = _paired(runs, [name for name in seeds if len(seeds[name]) >= MIN_SEEDS])
        strategies = summarise(runs, {})["strategies"]
        ours, chance = strategies[DEFAULT], strategies["random"]
        best = max((name for name in strategies if name != DEFAULT), key=lambda name: strategies[name]["naulc"]["mean"])
        versus, needed = ours["vs_random"], ours["labels_to_target"]
        ends = [_worst_group(runs, name) for name in (DEFAULT, "random")]
        lines.append(
            f"| {text_set.name} | {100 * versus['naulc_gain']:+.1f} ({_both(versus['ci95'])}), {versus['wins']} of "
            f"{versus['wins'] + versus['losses'] + versus['ties']} seeds "
            f"| {f'{needed:.0f} ({needed / 500:.2f})' if needed else 'never'} "
            f"| {100 * ours['final']['worst_class_f1']:.1f}, {100 * chance['final']['worst_class_f1']:.1f} "
            f"| {', '.join(f'{100 * end:.1f}' for end in ends if end is not None)} "
            f"| {best}: {100 * strategies[best]['naulc']['mean']:.1f}, {100 * ours['naulc']['mean']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def report(text_set: TextSet, runs: list[Measurement]) -> str:
    """Returns the table of one set with its heading."""
    tuned = "; a development set" if text_set.name in DEVELOPMENT else ""
    return (
        f"## {text_set.name}\n{len(text_set.train):,} tasks, {len(text_set.test):,} test rows, "
        f"{len(text_set.schema.controls[0].labels)} labels; {len({run.seed for run in runs})} seeds{tuned}.\n\n"
        + _rows(runs)
    )


def _rows(runs: list[Measurement]) -> str:
    strategies = summarise(runs, {})["strategies"]
    budgets, curves = paired_curves(runs, "macro_f1")
    sizes = [n for n in SHOWN if n in budgets.tolist()]
    lines = [
        f"| strategy | {' | '.join(map(str, sizes))} | area | gain over random | won/lost | labels to random's last "
        "| worst class at the end | worst group at the end | calibration error | s a round |",
        "|---|" + "---|" * (len(sizes) + 8),
    ]
    _, errors = paired_curves(runs, "calibration_error")
    for name in sorted(strategies, key=lambda name: -strategies[name]["naulc"]["mean"]):
        strategy, versus = strategies[name], strategies[name]["vs_random"]
        area = f"{100 * strategy['naulc']['mean']:.1f}"
        mean = curves[name].mean(axis=0)
        along = " | ".join(f"{100 * mean[budgets.tolist().index(n)]:.1f}" for n in sizes)
        gain = "" if name == "random" else f"{100 * versus['naulc_gain']:+.1f} ({_both(versus['ci95'])})"
        needed, worst = strategy["labels_to_target"], _worst_group(runs, name)
        lines.append(
            f"| {f'**{name}**' if name == DEFAULT else name} | {along} | {area} | {gain} "
            f"| {versus['wins']}/{versus['losses']} | {f'{needed:.0f}' if needed else 'never'} "
            f"| {100 * strategy['final']['worst_class_f1']:.1f} | {f'{100 * worst:.1f}' if worst is not None else ''} "
            f"| {100 * errors[name].mean():.1f} | {strategy['seconds_per_round']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def cold_start(sets: list[TextSet], initial: int) -> str:
    """Returns a table of the F1 of the worst class, with and without initial labels."""
    lines = [
        "## The worst class, from no label at all",
        "",
        "As the live loop begins. On davidson it is hate speech, 6 % of the rows. Differences are paired over the "
        "seeds, with a 95 % interval.",
        "",
        f"| set | start | strategy | seeds | {' | '.join(map(str, SHOWN))} | mean | mean minus random's "
        "| at 500 minus random's |",
        "|---|" + "---|" * (len(SHOWN) + 6),
    ]
    for text_set in sets:
        for begin in (0, initial):
            seeds = _seeds(read_runs(text_set.name, begin))
            names = [name for name in (DEFAULT, "typicality", "random") if name in seeds]
            if "random" not in names:
                continue
            budgets, curves = paired_curves(_paired(read_runs(text_set.name, begin), names), "worst_class_f1")
            at = [budgets.tolist().index(n) for n in SHOWN]
            for name in names:
                apart = curves[name] - curves["random"]
                differences = [] if name == "random" else [_spread(apart.mean(axis=1)), _spread(apart[:, at[-1]])]
                cells = [f"{100 * value:.1f}" for value in [*curves[name].mean(axis=0)[at], curves[name].mean()]]
                cells = [text_set.name, f"{begin} labels", name, str(len(apart)), *cells, *(differences or ["", ""])]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _seeds(runs: list[Measurement]) -> dict[str, set[int]]:
    seeds: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        seeds[run.strategy].add(run.seed)
    return seeds


def _paired(runs: list[Measurement], names: list[str]) -> list[Measurement]:
    """Returns the runs of these strategies, for the seeds that all of them have."""
    seeds = _seeds(runs)
    common = set.intersection(*(seeds[name] for name in names))
    return [run for run in runs if run.strategy in names and run.seed in common]


def _worst_group(runs: list[Measurement], name: str) -> float | None:
    """Returns the lowest final macro-F1 of a group; None if the set has no groups."""
    groups = sorted({run.group for run in runs} - {""})
    return min(
        (float(paired_curves(runs, "macro_f1", group)[1][name].mean(axis=0)[-1]) for group in groups), default=None
    )


def _spread(values: npt.NDArray[np.floating[Any]]) -> str:
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{100 * values.mean():+.1f} ± {100 * half:.1f}"


def _both(ends: list[float]) -> str:
    return " to ".join(f"{100 * end:+.1f}" for end in ends)
