"""`apprentice simulate`: a user's own labelled export, every strategy on it, and what that says in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import registry
from ml_backend.domain import ApprenticeError, TaskSchema, TrainingSet, content_key
from ml_backend.encoding import encode
from ml_backend.evaluation.curves import append_run, read_csv
from ml_backend.evaluation.folder import CURVES, prepare, told, write_json
from ml_backend.evaluation.report import write_report
from ml_backend.evaluation.simulation import Gold, Plan, simulate
from ml_backend.evaluation.summary import RANDOM, summarise, verdict
from ml_backend.label_studio.export import Export, read_config, read_export
from ml_backend.settings import Settings
from ml_backend.store.vectors import Vectors

TEST_SHARE = 0.3  # of the tasks, held out anew for each seed, where the user has no test set
CHUNK = 512  # texts encoded between two signs of progress
FREE = ("strategies", "seeds")  # parts of the protocol that may grow from one call to the next


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for. `initial` None stands for one batch."""

    tasks: Path
    label_config: Path
    out: Path
    test: Path | None = None
    strategies: Sequence[str] = ()
    budget: int = 500
    batch: int = 25
    seeds: int = 10
    initial: int | None = None
    group: str = ""


Progress = Callable[[str, int, int], None]
"""Told of (what is done, so many, of so many)."""


class Simulator:
    """One request, read and encoded. `say` is told what was left out or made smaller.

    Everything raises ApprenticeError: if a file, a strategy or the folder `out` is not usable, or nothing is left to
    compare.
    """

    def __init__(self, settings: Settings, request: Request, say: Callable[[str], None], progress: Progress) -> None:
        self._request, self._progress = request, progress
        schema = read_config(request.label_config)
        self._strategies = list(dict.fromkeys([*request.strategies, RANDOM]))
        for name in self._strategies:
            registry.acquisition(name)
        tasks = read_export(request.tasks, schema, request.group, say)
        test = read_export(request.test, schema, request.group, say) if request.test else None
        if (tasks.targets == tasks.targets[0]).all():
            given = [repr(label) for label, share in zip(schema.labels, tasks.targets[0], strict=True) if share]
            raise ApprenticeError(
                f"All answers in {request.tasks} are {' and '.join(given) or 'empty'}: there is nothing to tell apart"
            )
        if test and (known := len({*test.texts}.intersection(tasks.texts))):
            say(f"{request.test}: {known} of the texts are in {request.tasks}, too, where they can be learnt by heart")
        held_out = 0 if test else _held_out(len(tasks.texts))
        self._plan = _plan(schema, settings, request, len(tasks.texts) - held_out, say)
        self._protocol: dict[str, Any] = {
            "strategies": self._strategies,
            "seeds": request.seeds,
            "labels_at_the_start": self._plan.initial,
            "batch": self._plan.batch,
            "budget": self._plan.budget,
            "tasks": len(tasks.texts),
            "test": len(test.texts) if test else f"{held_out} of them, drawn anew for each seed",
            "labels": len(schema.labels),
            "several_labels": schema.multiple,
            "group": request.group,
            "learner": settings.defaults.learner,
            "encoder": settings.encoder,
            "balance": settings.defaults.balance,
            "version": version("apprentice-label-studio"),
            "digest_of_the_tasks": _digest([tasks, test] if test else [tasks]),
        }
        prepare(request.out, {name: value for name, value in self._protocol.items() if name not in FREE})
        self._tasks = self._encoded(settings.encoder, tasks)
        self._test = self._encoded(settings.encoder, test) if test else None

    def run(self) -> None:
        """Runs what is not in curves.csv yet, all strategies of a seed after each other, and keeps each run there."""
        file = self._request.out / CURVES
        with told(self._request.out):
            finished = {(each.strategy, each.seed) for each in read_csv(file)}
        two = np.eye(2, dtype=np.float32)  # what a learner imports at its first fit is not the time of a round
        registry.learner(self._plan.options.learner).fit(TrainingSet(two, two, np.ones(2, np.float32), False), seed=0)
        wanted = [(name, seed) for seed in range(self._request.seeds) for name in self._strategies]
        done, labels = len(finished.intersection(wanted)), self._plan.budget
        for name, seed in wanted:
            if (name, seed) in finished:
                continue
            found = []
            for measurement in simulate(self._plan, *self._split(seed), name, seed):
                found.append(measurement)
                now = done * labels + measurement.labelled
                self._progress(f"{name}, repetition {seed + 1}: labels", now, len(wanted) * labels)
            with told(self._request.out):
                append_run(file, found)
            done += 1

    def conclude(self) -> str:
        """Writes summary.json and report.html of the finished runs that were asked for; returns the verdict."""
        folder = self._request.out
        with told(folder):
            measurements = [
                each
                for each in read_csv(folder / CURVES)
                if each.strategy in self._strategies and each.seed < self._request.seeds
            ]
            summary = summarise(measurements, self._protocol)
            words = verdict(summary)
            write_json(folder / "summary.json", summary)
            write_report(measurements, summary, words, folder / "report.html")
        return words

    def _encoded(self, setting: str, export: Export) -> Gold:
        """With vectors kept beside the report, so that a second call is quick."""
        encoder = registry.encoder(setting)
        folder = self._request.out / "vectors" / encoder.name
        cache, keys = Vectors(folder), [content_key(text) for text in export.texts]
        missing = list({keys[row]: int(row) for row in np.flatnonzero(cache.find(keys) < 0)}.values())
        for start in range(0, len(missing), CHUNK):
            rows = missing[start : start + CHUNK]
            texts, tasks = zip(*((export.texts[row], export.tasks[row]) for row in rows), strict=True)
            vectors = encode(encoder.encode, texts, tasks, setting)
            cache.add([keys[row] for row in rows], vectors)
            self._progress("texts encoded", start + len(rows), len(missing))
        cache = Vectors(folder)  # opened again, it is what the next call will read
        return Gold(cache.read(cache.find(keys)), export.targets, export.groups)

    def _split(self, seed: int) -> tuple[Gold, Gold]:
        """Pool and test rows of one repetition."""
        if self._test is not None:
            return self._tasks, self._test
        order = np.random.default_rng([seed, 1]).permutation(len(self._tasks))  # not as the first labels are drawn
        cut = _held_out(len(order))
        return self._tasks.take(np.sort(order[cut:])), self._tasks.take(np.sort(order[:cut]))


def _held_out(n: int) -> int:
    """How many of n tasks are the test rows of a repetition."""
    return max(1, round(TEST_SHARE * n))


def _plan(schema: TaskSchema, settings: Settings, asked: Request, size: int, say: Callable[[str], None]) -> Plan:
    """What was asked for, as far as `size` tasks to choose from allow it."""
    budget, batch = min(asked.budget, size), min(asked.batch, size)
    initial = min(batch if asked.initial is None else asked.initial, budget)
    if initial == budget:
        raise ApprenticeError(
            f"There are {size} tasks to choose from, {budget} would be labelled and {initial} of them at the start: "
            "no strategy has a choice. Take a smaller --batch or --initial, or label more"
        )
    if (budget, batch) != (asked.budget, asked.batch):
        say(f"There are {size} tasks to choose from: up to {budget} labels, {batch} at a time")
    return Plan(schema, settings.defaults, settings.encoder, initial, batch, budget)


def _digest(exports: Sequence[Export]) -> str:
    """Of all that the result depends on in the files."""
    parts = [[each.texts, each.targets.tolist(), each.groups] for each in exports]
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]
