"""Replays annotation on labelled tasks, with the code of the live loop: one strategy and seed at a time.

Each step is a round: fit the learner on the labelled tasks, let the gate decide, measure on the test rows, choose the
next batch, and reveal its labels. A round of the live loop chooses a longer queue, of which only the first tasks are
labelled before the next round; the simulation has a team that labels `batch` tasks between two rounds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Protocol

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Pool, Rows, Tensors, are_missing
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.texts import Texts
from ml_backend.evaluation.promotion_gate import decide_promotion
from ml_backend.kinds.lookup import fitted_schema, kind_of, learner_name
from ml_backend.loop.query_selection import select_queries
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.pool_predictions import with_predictions
from ml_backend.model.training_sample import MAX_POOL_TEXTS, random_rows
from ml_backend.pool.encoded_texts import WordReader
from ml_backend.pool.pool_snapshot import MAX_CLUSTERS
from ml_backend.simulation import effort
from ml_backend.simulation.learning_curves import Measurement

SEED_STRIDE = 1_000_000  # between the seeds of two repetitions, so that no two rounds have the same seed


@dataclass(frozen=True, slots=True)
class LabelledPool:
    """Labelled tasks: vectors (n, d); targets (n, ...) by control, missing for a task without a label for the control;
    groups (n,), a name or "" for none; texts (n,), empty if nothing reads them; words: reads the words of the texts,
    None in a feature space without vectors of words; n_words (n,): the number of words that annotators read in each
    task, None if words are not counted."""

    vectors: Floats
    targets: Mapping[str, Rows]
    groups: Sequence[str]
    texts: Sequence[str] = ()
    words: WordReader | None = None
    n_words: Ints | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Ints) -> LabelledPool:
        texts = [self.texts[row] for row in rows] if self.texts else ()
        targets = {control: of_control[rows] for control, of_control in self.targets.items()}
        n_words = None if self.n_words is None else self.n_words[rows]
        return LabelledPool(self.vectors[rows], targets, [self.groups[row] for row in rows], texts, self.words, n_words)

    def all_texts(self) -> Texts:
        """The texts of all rows, with their words if the feature space has them."""
        texts = Texts(len(self), lambda rows: [self.texts[row] for row in rows])
        return texts if self.words is None else self.words.add_words(texts)

    def labelled_for(self, control: str) -> LabelledPool:
        """The tasks with a label for a control."""
        rows = np.flatnonzero(~are_missing(self.targets[control]))
        return self if len(rows) == len(self) else self.take(rows)


class SimulationTeacher(Protocol):
    """A teacher that is asked while a pool is labelled."""

    def teach(self, rows: Ints, learners: Mapping[str, FittedModel]) -> Mapping[str, Mapping[str, Tensors]] | None:
        """The priors from the teacher's labels so far, by control; None if there are no new ones. `rows` are labelled,
        and the tasks of the serving `learners` by control. May raise ApprenticeError, which ends the simulation."""

    def spent(self) -> Mapping[str, float]:
        """The cost so far, by metrics of `Measurement`."""


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """The settings of a simulation.

    schema         with the controls that are learnt
    options        of the tasks' form
    initial        labels drawn at random, the same for every strategy of a seed
    batch          labels between two rounds
    budget         labels at the end
    counts_effort  whether the words and spans of the labelled tasks are counted
    priors         of the learners before the first label by control, from the labels' names or a teacher
    """

    schema: ProjectSchema
    options: ProjectSettings
    space: str
    initial: int
    batch: int
    budget: int
    counts_effort: bool = False
    priors: Mapping[str, Mapping[str, Tensors]] = field(default_factory=dict)


def simulate(
    plan: SimulationPlan,
    pool: LabelledPool,
    test: LabelledPool,
    strategy: str,
    seed: int,
    teacher: SimulationTeacher | None = None,
) -> Iterator[Measurement]:
    """Measures the learner of each control with the first labels, at each multiple of the batch and with the whole
    budget, if `strategy` chooses the tasks and `teacher`, if any, is asked. A task that is chosen is labelled for all
    controls for which it has a label. A pool that is smaller than the budget is labelled completely.

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
    learners: dict[str, FittedModel] = {}
    priors, controls = plan.priors, plan.schema.controls
    tests = {control.name: test.labelled_for(control.name) for control in controls}
    tasks = np.arange(len(pool))
    for number in count():
        n, rows, start_time = int(labelled.sum()), np.flatnonzero(labelled), time.process_time()
        learners = _serving_learners(plan, pool, rows, learners, number, priors)
        seconds = time.process_time() - start_time
        teacher_priors = teacher.teach(rows, learners) if teacher and learners else None
        if teacher_priors is not None:
            priors = teacher_priors
            learners = _serving_learners(plan, pool, rows, learners, number, priors)
        for control in controls if n else ():
            learner, targets = learners.get(control.name), pool.targets[control.name][labelled]
            targets = targets[~are_missing(targets)]
            for metric, group, value in _simulation_metrics(control, learner, targets, tests[control.name]):
                yield Measurement(strategy, seed, n, metric, group, value, control.name)
        counted = effort.amounts(plan.schema, pool.n_words, pool.targets, rows) if n and plan.counts_effort else {}
        for axis, amount in counted.items():
            yield Measurement(strategy, seed, n, axis, "", amount)
        for metric, value in teacher.spent().items() if teacher else ():
            yield Measurement(strategy, seed, n, metric, "", value)
        if n >= budget:
            return
        start_time = time.process_time()
        k = min(plan.batch - n % plan.batch, budget - n)
        n_words = pool.n_words if plan.options.cost == "words" else None
        query_pool = Pool(pool.vectors, None, labelled.copy(), ~labelled, clustering=clustering, words=n_words)
        query_pool = with_predictions(query_pool, learners, controls, plan.options, tasks, pool.all_texts())
        chosen = select_queries(plan.options, query_pool, groups, k, SEED_STRIDE * seed + number).rows
        yield Measurement(strategy, seed, n, "seconds", "", seconds + time.process_time() - start_time)
        if not len(chosen):
            raise ApprenticeError(f"The strategy {strategy} chooses none of {len(pool) - n} tasks")
        labelled[chosen] = True


def _serving_learners(
    plan: SimulationPlan,
    pool: LabelledPool,
    rows: Ints,
    serving: Mapping[str, FittedModel],
    number: int,
    priors: Mapping[str, Mapping[str, Tensors]],
) -> dict[str, FittedModel]:
    """The learners that serve after a round by control: a candidate fitted on `rows`, or the serving one if the gate
    keeps it."""
    learners, texts = dict(serving), pool.all_texts()
    for control in plan.schema.controls:
        fitted_rows = rows[~are_missing(pool.targets[control.name][rows])]
        snapshot = TrainingSnapshot(
            plugin=learner_name(control, plan.options.learner),
            space=plan.space,
            control=fitted_schema(control),
            tasks=fitted_rows,
            texts=b"",  # not needed: the texts of a simulation do not change
            targets=pool.targets[control.name][fitted_rows],
            draft_rule=fitted_model.draft_rule(control, plan.options),
        )
        train = snapshot.training_set(pool.vectors[fitted_rows], texts.take(fitted_rows), priors.get(control.name, {}))
        train = replace(train, pool_texts=texts.take(random_rows(np.arange(len(pool)), MAX_POOL_TEXTS)))
        candidate, fit = fitted_model.fit_model(snapshot, train, serving.get(control.name), number)
        if candidate is None or fit is None:
            continue
        score = partial(kind_of(control).scores, control)
        serving_scores = None if fit.held_out_earlier is None else score(fit.held_out_earlier, snapshot.targets)
        if decide_promotion(score(fit.held_out, snapshot.targets), serving_scores).promote:
            learners[control.name] = candidate
    return learners


def _simulation_metrics(
    control: ControlSchema, learner: FittedModel | None, labelled_targets: Rows, test: LabelledPool
) -> Iterator[tuple[str, str, float]]:
    """Yields the metrics of the learner on the test rows: the name of the metric, the group ("" for all rows), and the
    value. Without a learner, every draft follows from the labelled targets alone. Yields nothing without a test
    row."""
    if not len(test):
        return
    of_kind, targets = kind_of(control), test.targets[control.name]
    if learner:
        predicted = learner.predict(control, test.vectors, test.all_texts())
    else:
        predicted = of_kind.without_learner(control, labelled_targets, len(test))
    for metric, value in of_kind.simulation_metrics(control, predicted, targets).items():
        yield metric, "", value
    names = np.asarray(test.groups)
    for group in sorted({name for name in test.groups if name}):
        in_group = names == group
        for metric, value in of_kind.simulation_metrics(
            control, predicted[in_group], targets[in_group], in_group=True
        ).items():
            yield metric, group, value
