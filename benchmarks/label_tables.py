"""The tables of `make bench-labels`, from the runs that are kept."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data import CACHE, DEVELOPMENT, TextSet
from ml_backend.core.settings import ProjectSettings
from ml_backend.simulation.learning_curves import Measurement, read_csv, table
from ml_backend.simulation.summary import summarise

SHOWN = (25, 50, 100, 200, 300, 400, 500)
DEFAULT = ProjectSettings.model_fields["acquisition"].default
FEWEST = 5  # seeds, for a strategy to be shown
UNGROUPED = "none"  # rows that belong to no group of their set
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
    """The file of a set's runs that began with so many labels."""
    return CACHE / f"labels-{name}-{initial}.csv"


def read_runs(name: str, initial: int) -> list[Measurement]:
    return [each for each in read_csv(runs_of(name, initial)) if each.group != UNGROUPED]


def document(sets: list[TextSet], peers: list[str], initial: int) -> str:
    """Everything: the goals, each set, and the start from no label."""
    parts = [HEAD, goals(sets, initial)]
    for which in sets:
        runs = read_runs(which.name, initial)
        seeds = _seeds(runs)
        parts.append(report(which, _paired(runs, [name for name in seeds if len(seeds[name]) >= FEWEST])))
        few = {name: len(seeds[name]) for name in peers if len(seeds.get(name, ())) < FEWEST}
        if few:
            told = (f"{name} ({n or 'no'} {'seed' if n == 1 else 'seeds'})" for name, n in few.items())
            parts.append(f"Too slow to be compared here: {', '.join(told)}.\n")
    parts.append(cold_start(sets, initial))
    for which in sets:
        if runs := read_runs(which.name, 0):
            parts.append(report(which, runs).replace(f"## {which.name}", f"### {which.name}, from no label", 1))
    return "\n".join(parts)


def goals(sets: list[TextSet], initial: int) -> str:
    lines = [
        "## The goals",
        "",
        "| set | gain over random | labels to random's score at 500, of 500 | worst class at 500: default, random "
        "| worst group at 500: default, random | best other strategy: area, default's area |",
        "|---|---|---|---|---|---|",
    ]
    for which in sets:
        runs = read_runs(which.name, initial)
        seeds = _seeds(runs)
        runs = _paired(runs, [name for name in seeds if len(seeds[name]) >= FEWEST])
        found = summarise(runs, {})["strategies"]
        ours, chance = found[DEFAULT], found["random"]
        best = max((name for name in found if name != DEFAULT), key=lambda name: found[name]["naulc"]["mean"])
        versus, needed = ours["vs_random"], ours["labels_to_target"]
        ends = [_worst_group(runs, name) for name in (DEFAULT, "random")]
        lines.append(
            f"| {which.name} | {100 * versus['naulc_gain']:+.1f} ({_both(versus['ci95'])}), {versus['wins']} of "
            f"{versus['wins'] + versus['losses'] + versus['ties']} seeds "
            f"| {f'{needed:.0f} ({needed / 500:.2f})' if needed else 'never'} "
            f"| {100 * ours['final']['worst_class_f1']:.1f}, {100 * chance['final']['worst_class_f1']:.1f} "
            f"| {', '.join(f'{100 * end:.1f}' for end in ends if end is not None)} "
            f"| {best}: {100 * found[best]['naulc']['mean']:.1f}, {100 * ours['naulc']['mean']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def report(which: TextSet, runs: list[Measurement]) -> str:
    """The table of one set, under its heading."""
    tuned = "; a development set" if which.name in DEVELOPMENT else ""
    return (
        f"## {which.name}\n{len(which.train):,} tasks, {len(which.test):,} test rows, "
        f"{len(which.schema.labels)} labels; {len({each.seed for each in runs})} seeds{tuned}.\n\n" + _rows(runs)
    )


def _rows(runs: list[Measurement]) -> str:
    strategies = summarise(runs, {})["strategies"]
    budgets, curves = table(runs, "macro_f1")
    shown = [n for n in SHOWN if n in budgets.tolist()]
    lines = [
        f"| strategy | {' | '.join(map(str, shown))} | area | gain over random | won/lost | labels to random's last "
        "| worst class at the end | worst group at the end | calibration error | s a round |",
        "|---|" + "---|" * (len(shown) + 8),
    ]
    _, errors = table(runs, "calibration_error")
    for name in sorted(strategies, key=lambda name: -strategies[name]["naulc"]["mean"]):
        found, versus = strategies[name], strategies[name]["vs_random"]
        mean = curves[name].mean(axis=0)
        along = " | ".join(f"{100 * mean[budgets.tolist().index(n)]:.1f}" for n in shown)
        gain = "" if name == "random" else f"{100 * versus['naulc_gain']:+.1f} ({_both(versus['ci95'])})"
        needed, worst = found["labels_to_target"], _worst_group(runs, name)
        lines.append(
            f"| {f'**{name}**' if name == DEFAULT else name} | {along} | {100 * found['naulc']['mean']:.1f} | {gain} "
            f"| {versus['wins']}/{versus['losses']} | {f'{needed:.0f}' if needed else 'never'} "
            f"| {100 * found['final']['worst_class_f1']:.1f} | {f'{100 * worst:.1f}' if worst is not None else ''} "
            f"| {100 * errors[name].mean():.1f} | {found['seconds_per_round']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def cold_start(sets: list[TextSet], initial: int) -> str:
    """F1 of the worst class along the way, with labels to begin with and without."""
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
    for which in sets:
        for begin in (0, initial):
            seeds = _seeds(read_runs(which.name, begin))
            names = [name for name in (DEFAULT, "typicality", "random") if name in seeds]
            if "random" not in names:
                continue
            budgets, curves = table(_paired(read_runs(which.name, begin), names), "worst_class_f1")
            at = [budgets.tolist().index(n) for n in SHOWN]
            for name in names:
                apart = curves[name] - curves["random"]
                told = [] if name == "random" else [_spread(apart.mean(axis=1)), _spread(apart[:, at[-1]])]
                cells = [f"{100 * value:.1f}" for value in [*curves[name].mean(axis=0)[at], curves[name].mean()]]
                cells = [which.name, f"{begin} labels", name, str(len(apart)), *cells, *(told or ["", ""])]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _seeds(runs: list[Measurement]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for each in runs:
        found[each.strategy].add(each.seed)
    return found


def _paired(runs: list[Measurement], names: list[str]) -> list[Measurement]:
    """The runs of some strategies with the seeds that all of them have."""
    seeds = _seeds(runs)
    common = set.intersection(*(seeds[name] for name in names))
    return [each for each in runs if each.strategy in names and each.seed in common]


def _worst_group(runs: list[Measurement], name: str) -> float | None:
    """Macro-F1 at the end of the group where it is lowest, None if the set has no groups."""
    groups = sorted({each.group for each in runs} - {""})
    return min((float(table(runs, "macro_f1", group)[1][name].mean(axis=0)[-1]) for group in groups), default=None)


def _spread(values: npt.NDArray[np.floating[Any]]) -> str:
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{100 * values.mean():+.1f} ± {100 * half:.1f}"


def _both(ends: list[float]) -> str:
    return " to ".join(f"{100 * end:+.1f}" for end in ends)
