"""Replays annotation on tasks whose answers are known, with the code of the live loop: one strategy and seed at a time.

Each step is a round: learn from what is labelled, let the gate judge, measure on the test rows, and choose the next
batch; its answers are the known ones. A round of the live loop chooses a longer queue, of which only the head is
labelled before the next: what is simulated here is a team that labels `batch` tasks between two rounds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

import numpy as np

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Floats, Ints, TaskSchema, Tensors
from ml_backend.evaluation.gate_test import judge
from ml_backend.evaluation.metrics import calibration_error, correct, f1
from ml_backend.loop.query_selection import choose, pool_of
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.pool.project_pool import CLUSTERS
from ml_backend.simulation.learning_curves import Measurement

STRIDE = 1_000_000  # between the seeds of two repetitions: no round draws as another does
ENOUGH = 5  # test rows of a class for it to be called the worst; if none has so many, as many as the largest has


@dataclass(frozen=True, slots=True)
class LabelledPool:
    """Tasks whose answers are known. vectors (n, d); targets (n, c); groups (n,): a name, "" for none; texts (n,), or
    none where there is no teacher to read them."""

    vectors: Floats
    targets: Floats
    groups: Sequence[str]
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Ints) -> LabelledPool:
        texts = [self.texts[row] for row in rows] if self.texts else ()
        return LabelledPool(self.vectors[rows], self.targets[rows], [self.groups[row] for row in rows], texts)


class SimulationTeacher(Protocol):
    """A teacher that is asked while a pool is labelled."""

    def teach(self, rows: Ints, learner: FittedModel) -> Mapping[str, Tensors] | None:
        """What it has taught by then, given the rows that are labelled and the learner that serves, whose tasks they
        are; None if there is nothing new. May raise ApprenticeError: the simulation ends there."""

    def spent(self) -> Mapping[str, float]:
        """What that has taken so far, by metrics of `Measurement`."""


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """How a simulation goes, with `options` that are of the tasks' form: `initial` labels drawn at random, the same for
    every strategy of a seed, then `batch` at a time up to `budget`; `priors` are what can be started from before the
    first of them: the labels' names, or what a teacher has taught."""

    schema: TaskSchema
    options: ProjectSettings
    space: str
    initial: int
    batch: int
    budget: int
    priors: Mapping[str, Tensors] = field(default_factory=dict)


def simulate(
    plan: SimulationPlan,
    pool: LabelledPool,
    test: LabelledPool,
    strategy: str,
    seed: int,
    tutor: SimulationTeacher | None = None,
) -> Iterator[Measurement]:
    """What a learner is worth with the first labels, at each multiple of the batch and with the whole budget, if
    `strategy` chooses and `tutor` teaches; a pool that is smaller than the budget is labelled to the end.
    Deterministic, but for the metric `seconds`, which is that of the round after so many labels. Raises ApprenticeError
    if the strategy chooses nothing.
    """
    plan = replace(plan, options=plan.options.model_copy(update={"acquisition": strategy}))
    clustering = registry.clusterer().cut(pool.vectors, CLUSTERS, seed)
    _, codes = np.unique(np.asarray(pool.groups), return_inverse=True)
    groups = codes.astype(np.int64) if any(pool.groups) else None
    budget = min(plan.budget, len(pool))
    start = np.random.default_rng(seed).choice(len(pool), min(plan.initial, budget), replace=False)
    labelled = np.zeros(len(pool), np.bool_)
    labelled[start] = True
    learner: FittedModel | None = None
    priors = plan.priors
    tasks = np.arange(len(pool))
    for number in count():
        n, rows, begin = int(labelled.sum()), np.flatnonzero(labelled), time.process_time()
        learner = _learnt(plan, pool, rows, learner, number, priors)
        seconds = time.process_time() - begin
        taught = tutor.teach(rows, learner) if tutor and learner else None
        if taught is not None:
            priors = taught
            learner = _learnt(plan, pool, rows, learner, number, priors)
        if n:
            yield from _measured(plan.schema, learner, pool.targets[labelled], test, strategy, seed, n)
        for metric, value in tutor.spent().items() if tutor else ():
            yield Measurement(strategy, seed, n, metric, "", value)
        if n >= budget:
            return
        begin = time.process_time()
        k = min(plan.batch - n % plan.batch, budget - n)
        seen = pool_of(plan.schema, learner, tasks, pool.vectors, labelled.copy(), ~labelled, clustering)
        chosen = choose(plan.options, seen, groups, k, STRIDE * seed + number).rows
        yield Measurement(strategy, seed, n, "seconds", "", seconds + time.process_time() - begin)
        if not len(chosen):
            raise ApprenticeError(f"The strategy {strategy} chooses none of {len(pool) - n} tasks")
        labelled[chosen] = True


def _learnt(
    plan: SimulationPlan,
    pool: LabelledPool,
    rows: Ints,
    serving: FittedModel | None,
    number: int,
    priors: Mapping[str, Tensors],
) -> FittedModel | None:
    """The learner that serves after a round."""
    lesson = TrainingSnapshot(
        plugin=plan.options.learner,
        space=plan.space,
        labels=plan.schema.labels,
        multiple=plan.schema.multiple,
        tasks=rows,
        texts=b"",  # of no use here: a text does not change
        targets=pool.targets[rows],
    )
    candidate, fit = fitted_model.learn(lesson, pool.vectors[rows], serving, number, priors)
    if candidate is None or fit is None:
        return serving
    return candidate if judge(fit, lesson.targets, lesson.multiple).promote else serving


def _measured(
    schema: TaskSchema,
    learner: FittedModel | None,
    answers: Floats,
    test: LabelledPool,
    strategy: str,
    seed: int,
    n: int,
) -> Iterator[Measurement]:
    """Before there is a learner, all drafts are alike: the mean of the answers."""
    found = learner.predict(schema, test.vectors) if learner else np.tile(answers.mean(axis=0), (len(test), 1))
    right = correct(found, test.targets, schema.multiple)
    scores, support = _f1(found, test.targets, schema.multiple)
    frequent = scores[support >= min(ENOUGH, support.max())]
    for metric, value in (
        ("accuracy", right.mean()),
        ("macro_f1", scores.mean()),
        ("worst_class_f1", frequent.min()),
        ("calibration_error", calibration_error(found, test.targets, schema.multiple)),
    ):
        yield Measurement(strategy, seed, n, metric, "", float(value))
    names = np.asarray(test.groups)
    for group in sorted({name for name in test.groups if name}):
        mine = names == group
        scores, support = _f1(found[mine], test.targets[mine], schema.multiple)
        yield Measurement(strategy, seed, n, "accuracy", group, float(right[mine].mean()))
        there = scores[support > 0] if support.any() else scores  # of a group, only the labels that it has
        yield Measurement(strategy, seed, n, "macro_f1", group, float(there.mean()))


def _f1(found: Floats, targets: Floats, multiple: bool) -> tuple[Floats, Ints]:
    """Perfect, if there was no label to find and none was found."""
    scores, support = f1(found, targets, multiple)
    return (scores, support) if len(scores) else (np.ones(1, np.float32), np.zeros(1, np.int64))
