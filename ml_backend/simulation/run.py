"""`apprentice simulate`: a user's own labelled export, every strategy on it, and what that says in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from ml_backend import __version__
from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder
from ml_backend.core.settings import Settings
from ml_backend.core.types import Attributions, TaskSchema, TrainingSet, content_key, read_record
from ml_backend.label_studio.export import Export, read_config, read_export, read_text
from ml_backend.pool import feature_space
from ml_backend.pool.checked_encoder import encode
from ml_backend.simulation.cached_teacher import CachedTeacher
from ml_backend.simulation.config import BUDGET, SimulationConfig, announced, planned
from ml_backend.simulation.held_out_split import held_out, hold_out
from ml_backend.simulation.learning_curves import Measurement, append_run, read_csv
from ml_backend.simulation.recommendation import verdict
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.simulation.report import write_report
from ml_backend.simulation.run_directory import CURVES, in_hand, prepare, told, write_json
from ml_backend.simulation.simulated_teacher import ARMS, open_memory, questions_of, rehearse
from ml_backend.simulation.summary import RANDOM, summarise
from ml_backend.simulation.teacher_arms import name_of
from ml_backend.storage.vectors import Vectors
from ml_backend.teacher import distillation
from ml_backend.teacher.descriptions import feature_scores

CHUNK = 512  # texts encoded between two signs of progress
FREE = ("strategies", "seeds", "budget_is", "teacher")
"""Parts of the protocol that may differ from one call to the next."""

COVERED = {
    True: "which labels come first, but not which test tasks there are: they are the same in all repetitions",
    False: "which labels come first and which tasks are held out, but not that other tasks might have been collected",
}
"""What differs between repetitions, if the test rows stay or if they do not: no more can be in the intervals."""

Progress = Callable[[str, int, int], None]
"""Told of (what is done, so many, of so many)."""


class Simulator:
    """One request, read and encoded. `say` is told what was left out or made smaller.

    Everything raises ApprenticeError: if a file, a strategy or the folder `out` is not usable, or nothing is left to
    compare.
    """

    def __init__(
        self, settings: Settings, request: SimulationConfig, say: Callable[[str], None], progress: Progress
    ) -> None:
        self._request, self._progress, self._settings = request, progress, settings
        schema = read_config(request.label_config)
        for name in request.strategies:
            registry.acquisition(name)
        tasks = read_export(request.tasks, schema, request.group, say)
        test = read_export(request.test, schema, request.group, say) if request.test else None
        self._encoder, self._known = _space(settings, schema, request, tasks, say)
        options = settings.defaults.of_form(feature_space.form(self._encoder))
        strategies = list(dict.fromkeys([*(request.strategies or [options.acquisition]), RANDOM]))
        self._arms = {name_of(strategies[0], arm, request.rounds, request.per_round): arm for arm in request.arms}
        self._strategy = strategies[0]
        self._strategies = [*strategies, *self._arms]
        if (tasks.targets == tasks.targets[0]).all():
            given = [repr(label) for label, share in zip(schema.labels, tasks.targets[0], strict=True) if share]
            raise ApprenticeError(
                f"All answers in {request.tasks} are {' and '.join(given) or 'empty'}: there is nothing to tell apart"
            )
        if test and (known := len({*test.texts}.intersection(tasks.texts))):
            say(f"{request.test}: {known} of the texts are in {request.tasks}, too, where they can be learnt by heart")
        n = len(tasks.texts)
        rows = len(test.texts) if test else held_out(n)
        size = n if test else n - rows
        self._plan = planned(schema, options, settings.encoder, request, size)
        say(announced(request, self._plan, size, rows))
        if not test:
            hold_out(tasks.texts, 0)  # says so, if that is not possible
        self._protocol: dict[str, Any] = {
            "strategies": self._strategies,
            "seeds": request.seeds,
            "labels_at_the_start": self._plan.initial,
            "batch": self._plan.batch,
            "budget": self._plan.budget,
            "budget_is": "as asked for" if request.budget else f"the smaller of {BUDGET} and half of the pool",
            "tasks": n,
            "pool": size,
            "test_rows": rows,
            "test_rows_stay": test is not None,
            "intervals_cover": COVERED[test is not None],
            "labels": len(schema.labels),
            "several_labels": schema.multiple,
            "group": request.group,
            "groups": _sizes(tasks, test),
            "learner": self._plan.options.learner,
            "starts_from": _starts_from(request, self._encoder),
            "encoder": self._encoder.name if schema.is_record else settings.encoder,
            "balance": settings.defaults.balance,
            "version": __version__,
            "digest_of_the_tasks": _digest([tasks, test] if test else [tasks]),
        }
        if self._known is not None:
            self._protocol["digest_of_what_is_known"] = sha256(self._known.scores.tobytes()).hexdigest()[:16]
        self._teacher = self._memory(say) if self._arms else None
        if self._teacher:
            self._protocol["teacher"] = self._teacher.name
        prepare(request.out, {name: value for name, value in self._protocol.items() if name not in FREE})
        self._texts = tasks.texts
        self._tasks = self._encoded(tasks)
        self._test = self._encoded(test) if test else None
        self._names = distillation.named(schema, self._encoder)
        self._begun: tuple[int, tuple[SimulationPlan, LabelledPool, LabelledPool]] | None = None

    def run(self) -> None:
        """Runs what is not in curves.csv yet, all strategies of a seed after each other, and keeps each run there."""
        with in_hand(self._request.out):
            self._run()

    def _run(self) -> None:
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
            for measurement in self._measure(name, seed):
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
            found = read_csv(folder / CURVES)
            measurements = [
                each for each in found if each.strategy in self._strategies and each.seed < self._request.seeds
            ]
            summary = summarise(measurements, self._protocol, tried=sorted({each.strategy for each in found}))
            words = verdict(summary)
            write_json(folder / "summary.json", summary)
            write_report(measurements, summary, words, folder / "report.html")
        return words

    def _encoded(self, export: Export) -> LabelledPool:
        """With vectors kept beside the report, so that a second call is quick."""
        encoder = self._encoder
        folder = self._request.out / "vectors" / encoder.name
        cache, keys = Vectors(folder), [content_key(text) for text in export.texts]
        missing = list({keys[row]: int(row) for row in np.flatnonzero(cache.find(keys) < 0)}.values())
        for start in range(0, len(missing), CHUNK):
            rows = missing[start : start + CHUNK]
            texts, tasks = zip(*((export.texts[row], int(export.tasks[row])) for row in rows), strict=True)
            vectors = encode(encoder.encode, texts, tasks, encoder.name)
            cache.add([keys[row] for row in rows], vectors)
            self._progress("texts encoded", start + len(rows), len(missing))
        cache = Vectors(folder)  # opened again, it is what the next call will read
        return LabelledPool(cache.read(cache.find(keys)), export.targets, export.groups, export.texts)

    def _measure(self, name: str, seed: int) -> Iterator[Measurement]:
        """One run, of a strategy by itself or with a teacher."""
        plan, pool, test = self._begin(seed)
        if self._teacher is None or name not in self._arms:
            yield from simulate(plan, pool, test, name, seed)
            return
        asked = self._request
        config = asked.label_config.read_text(encoding="utf-8-sig")
        with rehearse(
            self._arms[name], self._settings, plan, config, pool, self._teacher.again(), asked.rounds, asked.per_round
        ) as tutor:
            for measurement in simulate(plan, pool, test, self._strategy, seed, tutor):
                yield replace(measurement, strategy=name)

    def _begin(self, seed: int) -> tuple[SimulationPlan, LabelledPool, LabelledPool]:
        """What the runs of a repetition share."""
        if self._begun is None or self._begun[0] != seed:
            pool, test = self._split(seed)
            plugin, multiple = self._plan.options.learner, self._plan.schema.multiple
            priors = distillation.of_names(self._names, plugin, pool.vectors, multiple, seed, self._known)
            self._begun = seed, (replace(self._plan, priors=priors), pool, test)
        return self._begun[1]

    def _memory(self, say: Callable[[str], None]) -> CachedTeacher:
        """The teacher, with what it has said in earlier calls; the user is told how much it may be asked."""
        asked, rounds = self._request, -(-(self._plan.budget - self._plan.initial) // self._plan.batch)
        if self._plan.schema.is_record:
            raise ApprenticeError("The tasks are records, and the arms of a teacher are for texts")
        for arm in asked.arms:
            if arm not in ARMS:
                raise ApprenticeError(f"There is no way {arm!r} to ask the teacher; there are: {', '.join(ARMS)}")
        if asked.rounds > rounds:
            raise ApprenticeError(
                f"The teacher cannot be asked {asked.rounds} times: with {self._plan.batch} labels between two rounds, "
                f"there are {rounds} before the last. Take fewer --rounds or a smaller --batch"
            )
        teacher = open_memory(self._settings, asked.out / "teacher")
        most = len(self._arms) * asked.seeds * questions_of(asked.rounds, asked.per_round)
        say(
            f"The teacher {teacher.name} is asked up to {most} questions, as far as its caps allow, which hold for "
            f"this folder: what it says is kept in {asked.out / 'teacher'} and never asked again"
        )
        return teacher

    def _split(self, seed: int) -> tuple[LabelledPool, LabelledPool]:
        """Pool and test rows of one repetition."""
        if self._test is not None:
            return self._tasks, self._test
        pool, test = hold_out(self._texts, seed)
        return self._tasks.take(pool), self._tasks.take(test)


def _space(
    settings: Settings, schema: TaskSchema, request: SimulationConfig, tasks: Export, say: Callable[[str], None]
) -> tuple[Encoder, Attributions | None]:
    """The encoder; of records, one that is fitted to all of the tasks, not to their answers, and what is known of their
    fields from the file that the user names."""
    if not schema.is_record:
        if request.features:
            raise ApprenticeError("The tasks are texts: --features is about the fields of records")
        return registry.encoder(settings.encoder), None
    text = read_text(request.features) if request.features else "{}"
    fields = feature_scores.fields_of(text)  # they say what the others are measured by
    kinds = feature_space.wanted(schema, settings.defaults, {"fields": fields})
    profile = registry.profile(
        [read_record(each) for each in tasks.texts], kinds, settings.encoder, feature_space.asked_about(schema)
    )
    for odd in json.loads(profile)["odd"]:
        say(odd)
    encoder = registry.record_encoder(profile, settings.encoder)
    said = feature_scores.from_text(text, encoder, schema)
    return encoder, encoder.attributions(said.get("estimates") or [], schema.labels)


def _starts_from(request: SimulationConfig, encoder: Encoder) -> str:
    names = ["the labels' names"] if feature_space.form(encoder) != "record" else []
    fields = [f"what {request.features.name} says of the fields"] if request.features else []
    return " and ".join(names + fields) or "nothing"


def _sizes(tasks: Export, test: Export | None) -> dict[str, dict[str, float]]:
    """How many tasks and test rows each group has; on average, where they are drawn anew."""
    groups = sorted({*tasks.groups, *(test.groups if test else ())} - {""})
    share = held_out(len(tasks.texts)) / len(tasks.texts)
    found = {name: (tasks.groups.count(name), test.groups.count(name) if test else 0) for name in groups}
    return {name: {"tasks": n, "test_rows": rows if test else round(share * n, 1)} for name, (n, rows) in found.items()}


def _digest(exports: Sequence[Export]) -> str:
    """Of all that the result depends on in the files."""
    parts = [[each.texts, each.targets.tolist(), each.groups] for each in exports]
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]
