"""Replays annotation on labelled tasks, with the code of the live loop: one strategy and seed at a time.

Each step is a round: fit the learner on the labelled tasks, let the gate decide, measure on the test rows, choose the
next batch, and reveal its labels. A round of the live loop chooses a longer queue, of which only the first tasks are
labelled before the next round; the simulation has a team that labels `batch` tasks between two rounds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Protocol

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Pool, Tensors
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.evaluation.metrics import calibration_error, f1_scores, is_correct
from ml_backend.evaluation.promotion_gate import decide_promotion
from ml_backend.kinds.choices.scoring import row_scorer
from ml_backend.loop.query_selection import select_queries
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.pool_predictions import with_predictions
from ml_backend.pool.pool_snapshot import MAX_CLUSTERS
from ml_backend.simulation.learning_curves import Measurement

SEED_STRIDE = 1_000_000  # between the seeds of two repetitions, so that no two rounds have the same seed
MIN_ROWS_OF_WORST_CLASS = 5  # test rows; if no class has so many, as many as the largest has


@dataclass(frozen=True, slots=True)
class LabelledPool:
    """Labelled tasks: vectors (n, d); targets (n, c); groups (n,), a name or "" for none; texts (n,), empty if there is
    no teacher."""

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
        """The priors from the teacher's labels so far, None if there are no new ones. `rows` are labelled, and the
        tasks of the serving `learner`. May raise ApprenticeError, which ends the simulation."""

    def spent(self) -> Mapping[str, float]:
        """The cost so far, by metrics of `Measurement`."""


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """The settings of a simulation.

    schema   with one control
    options  of the tasks' form
    initial  labels drawn at random, the same for every strategy of a seed
    batch    labels between two rounds
    budget   labels at the end
    priors   of the learner before the first label, from the labels' names or a teacher
    """

    schema: ProjectSchema
    options: ProjectSettings
    space: str
    initial: int
    batch: int
    budget: int
    priors: Mapping[str, Tensors] = field(default_factory=dict)

    @property
    def control(self) -> ControlSchema:
        return self.schema.controls[0]


def simulate(
    plan: SimulationPlan,
    pool: LabelledPool,
    test: LabelledPool,
    strategy: str,
    seed: int,
    teacher: SimulationTeacher | None = None,
) -> Iterator[Measurement]:
    """Measures a learner with the first labels, at each multiple of the batch and with the whole budget, if `strategy`
    chooses the tasks and `teacher`, if any, is asked. A pool that is smaller than the budget is labelled completely.

    Deterministic, but for the metric `seconds`, which is that of the round after so many labels. Raises ApprenticeError
    if the strategy chooses nothing.
    """
    plan = replace(plan, options=plan.options.model_copy(update={"acquisition": strategy}))
    clustering = registry.clusterer().cut(pool.vectors, MAX_CLUSTERS, seed)
    _, codes = np.unique(np.asarray(pool.groups), return_inverse=True)
    groups = codes.astype(np.int64) if any(pool.groups) else None
    budget = min(plan.budget, len(pool))
    first_rows = np.random.default_rng(seed).choice(len(pool), min(plan.initial, budget), replace=False)
    labelled = np.zeros(len(pool), np.bool_)
    labelled[first_rows] = True
    learner: FittedModel | None = None
    priors = plan.priors
    tasks = np.arange(len(pool))
    for number in count():
        n, rows, start_time = int(labelled.sum()), np.flatnonzero(labelled), time.process_time()
        learner = _serving_learner(plan, pool, rows, learner, number, priors)
        seconds = time.process_time() - start_time
        teacher_priors = teacher.teach(rows, learner) if teacher and learner else None
        if teacher_priors is not None:
            priors = teacher_priors
            learner = _serving_learner(plan, pool, rows, learner, number, priors)
        if n:
            for metric, group, value in _test_metrics(plan.control, learner, pool.targets[labelled], test):
                yield Measurement(strategy, seed, n, metric, group, value)
        for metric, value in teacher.spent().items() if teacher else ():
            yield Measurement(strategy, seed, n, metric, "", value)
        if n >= budget:
            return
        start_time = time.process_time()
        k = min(plan.batch - n % plan.batch, budget - n)
        query_pool = Pool(pool.vectors, None, labelled.copy(), ~labelled, clustering=clustering)
        query_pool = with_predictions(
            query_pool, {plan.control.name: learner} if learner else {}, [plan.control], plan.options, tasks
        )
        chosen = select_queries(plan.options, query_pool, groups, k, SEED_STRIDE * seed + number).rows
        yield Measurement(strategy, seed, n, "seconds", "", seconds + time.process_time() - start_time)
        if not len(chosen):
            raise ApprenticeError(f"The strategy {strategy} chooses none of {len(pool) - n} tasks")
        labelled[chosen] = True


def _serving_learner(
    plan: SimulationPlan,
    pool: LabelledPool,
    rows: Ints,
    serving: FittedModel | None,
    number: int,
    priors: Mapping[str, Tensors],
) -> FittedModel | None:
    """The learner that serves after a round: a candidate fitted on `rows`, or the serving one if the gate keeps it."""
    snapshot = TrainingSnapshot(
        plugin=plan.options.learner,
        space=plan.space,
        labels=plan.control.labels,
        multiple=plan.control.multiple,
        tasks=rows,
        texts=b"",  # not needed: the texts of a simulation do not change
        targets=pool.targets[rows],
    )
    candidate, fit = fitted_model.fit_model(snapshot, pool.vectors[rows], serving, number, priors)
    if candidate is None or fit is None:
        return serving
    score = row_scorer(plan.control)
    serving_scores = None if fit.held_out_earlier is None else score(fit.held_out_earlier, snapshot.targets)
    decision = decide_promotion(score(fit.held_out, snapshot.targets), serving_scores)
    return candidate if decision.promote else serving


def _test_metrics(
    control: ControlSchema, learner: FittedModel | None, labelled_targets: Floats, test: LabelledPool
) -> Iterator[tuple[str, str, float]]:
    """Yields the metrics of the learner on the test rows: the name of the metric, the group ("" for all rows), and the
    value. Without a learner, every draft is the mean of the labelled targets."""
    if learner:
        probabilities = learner.predict(control, test.vectors)
    else:
        probabilities = np.tile(labelled_targets.mean(axis=0), (len(test), 1))
    is_right = is_correct(probabilities, test.targets, control.multiple)
    scores, support = _f1(probabilities, test.targets, control.multiple)
    frequent = scores[support >= min(MIN_ROWS_OF_WORST_CLASS, support.max())]
    for metric, value in (
        ("accuracy", is_right.mean()),
        ("macro_f1", scores.mean()),
        ("worst_class_f1", frequent.min()),
        ("calibration_error", calibration_error(probabilities, test.targets, control.multiple)),
    ):
        yield metric, "", float(value)
    names = np.asarray(test.groups)
    for group in sorted({name for name in test.groups if name}):
        in_group = names == group
        scores, support = _f1(probabilities[in_group], test.targets[in_group], control.multiple)
        yield "accuracy", group, float(is_right[in_group].mean())
        occurring = scores[support > 0] if support.any() else scores  # labels in the targets of the group
        yield "macro_f1", group, float(occurring.mean())


def _f1(probabilities: Floats, targets: Floats, multiple: bool) -> tuple[Floats, Ints]:
    """F1 and support by label as `f1`, but an F1 of 1 if no label is in the targets or drafted."""
    scores, support = f1_scores(probabilities, targets, multiple)
    return (scores, support) if len(scores) else (np.ones(1, np.float32), np.zeros(1, np.int64))
