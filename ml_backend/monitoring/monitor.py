"""What the loop finds out about itself: groups, class balance, acquisition against random, when to stop, odd answers.

Computed beside the rounds, from what the serving learner learnt from. Nothing here changes a queue but the verdict on
acquisition, and that only where the project allows it (`acquisition_fallback`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Floats, Ints, Mask, TaskSchema, TrainingSet
from ml_backend.evaluation.group_metrics import by_group, class_balance
from ml_backend.evaluation.label_errors import doubts
from ml_backend.evaluation.metrics import ENOUGH, correct
from ml_backend.evaluation.prequential import accuracy
from ml_backend.evaluation.random_baseline_test import compare, looks
from ml_backend.evaluation.retrospective import predict_retrospectively
from ml_backend.evaluation.stopping import advice, forecast, stability
from ml_backend.label_studio.label_review import settled_tasks
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.model import fitted_model
from ml_backend.model.training_sample import MOST_FITTED, random_rows
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.pool.task_groups import NO_GROUP, groups_of
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher import distillation

STOP_SET = 1000  # tasks, at most, on which successive learners are compared
MOST_GROUPS = 100  # that are kept
RANDOM = "random"


@dataclass(frozen=True, slots=True)
class MonitorInput:
    """The n tasks that the serving learner learnt from, in the order they were answered; of very many, the audit slice
    and a random part.

    version    the number of that learner
    labels     names of the c columns
    answers    how many tasks it learnt from that no teacher has written
    tasks      (n,) int64; `train` their vectors and targets; `held_out` (n, c) what the learner says of them unseen
    audited    (n,) bool: of the audit slice; `protected` (n,): an answer that needs no second look
    synthetic  (n,) bool: written by a teacher: learnt from, and never judged by
    groups     (n,) a name each; `group_by` what they are; `without_groups` what to say if there are none
    stop_set   (m, d) vectors of a fixed random part of the pool
    before     what the last look found, {} if there was none
    acquisition  the strategy that the project names; answers given under an earlier one are compared with it
    """

    version: int
    labels: tuple[str, ...]
    answers: int
    plugin: str
    tasks: Ints
    train: TrainingSet
    held_out: Floats
    audited: Mask
    protected: Mask
    synthetic: Mask
    groups: npt.NDArray[np.str_]
    group_by: str
    without_groups: str
    stop_set: Floats
    second_look: int
    acquisition: str
    before: dict[str, Any]

    def real(self) -> MonitorInput:
        """The same without the tasks that a teacher has written."""
        rows, train = ~self.synthetic, self.train
        return replace(
            self,
            tasks=self.tasks[rows],
            train=replace(train, vectors=train.vectors[rows], targets=train.targets[rows], weights=train.weights[rows]),
            **{name: getattr(self, name)[rows] for name in ("held_out", "audited", "protected", "synthetic", "groups")},
        )


def see(
    store: Store, pool: ProjectPool, aggregator: LabelAggregator, record: ProjectRecord, schema: TaskSchema,
    options: ProjectSettings,
) -> MonitorInput | None:  # fmt: skip
    """What there is to look at; None without a learner of real tasks, or if it has labels or tasks that are gone."""
    project = record.id
    active = store.versions.active(project)
    learner, _ = fitted_model.load_best(store, active, pool.space)
    if learner is None or learner.lesson.labels != schema.labels:
        return None
    lesson = learner.lesson
    rows = pool.rows_of(lesson.tasks)
    if len(rows) != len(lesson.tasks) or not pool.encoded[rows].all() or pool.synthetic[rows].all():
        return None
    aggregator.refresh(schema)
    audited = store.versions.audited(project)
    kept = np.union1d(random_rows(lesson.tasks, MOST_FITTED), np.flatnonzero(np.isin(lesson.tasks, audited)))
    answered = dict(zip(kept.tolist(), aggregator.first_answered(lesson.tasks[kept]), strict=True))
    order = np.array(sorted(kept.tolist(), key=answered.__getitem__))
    tasks, rows = lesson.tasks[order], rows[order]
    encoded = np.flatnonzero(pool.encoded & ~pool.synthetic)
    stop_set = np.sort(np.random.default_rng(project).permutation(encoded)[:STOP_SET])
    return MonitorInput(
        version=learner.number,
        labels=lesson.labels,
        plugin=lesson.plugin,
        tasks=tasks,
        train=TrainingSet(
            pool.ensure(rows),
            lesson.targets[order],
            np.ones(len(rows), np.float32),
            multiple=lesson.multiple,
            priors=distillation.load(store, record, lesson.plugin, pool.space, schema).tensors,
        ),
        held_out=learner.held_out[order],
        answers=len(lesson.tasks) - int(pool.synthetic[pool.rows_of(lesson.tasks)].sum()),
        audited=np.isin(tasks, audited),
        protected=~aggregator.has_sole_answer(tasks) | np.isin(tasks, settled_tasks(store, project)),
        synthetic=pool.synthetic[rows],
        groups=groups_of(pool, options.group_by, rows),
        group_by=options.group_by or "cluster",
        without_groups=_without_groups(pool, options.group_by),
        stop_set=pool.ensure(stop_set),
        second_look=options.second_look,
        acquisition=options.acquisition,
        before=record.watch or {},
    )


def find_out(seen: MonitorInput) -> dict[str, Any]:
    """Everything that can be said, as JSON: what the column `watch` of a project holds. Takes some ten fits."""
    learner = registry.learner(seen.plugin)
    # of learners that learn from synthetic tasks, too, as the serving one does; no audited task is one
    share = accuracy(learner, seen.train, seen.audited, seed=seen.version)
    seen = seen.real()
    train = seen.train
    right = correct(seen.held_out, train.targets, train.multiple)
    past = predict_retrospectively(learner, train, seen.stop_set, seed=seen.version)
    stable = None if past.predictions is None else stability(past.predictions)
    gains = forecast(past.sizes, past.right)
    audited = int(seen.audited.sum())
    look = {"looks": looks(audited), "acquisition": seen.acquisition, "audited": 0 if looks(audited) else audited}
    versus = seen.before.get("comparison", {})
    if look.items() - versus.items():  # it costs many fits, and changes at a look alone
        versus = {**asdict(compare(learner, train, seen.audited, seed=0)), **look}
    odd = doubts(seen.held_out, train.targets, train.multiple, seen.protected, seen.second_look)
    balance = class_balance(train.targets[seen.audited], seen.labels, "audit slice")
    enough = audited >= ENOUGH
    return {
        "version": seen.version,
        "labelled": seen.answers,
        "accuracy": asdict(share) if share else None,
        "balance": {label: asdict(share) for label, share in balance.items()} if enough else {},
        "groups": _by_group(right, seen),
        "stopping": {
            **asdict(advice(stable, gains)),
            "kappa": stable.kappa if stable else None,
            "gains": [asdict(gain) for gain in gains],
        },
        "comparison": versus,
        "second_look": [
            {
                "task": int(seen.tasks[row]),
                "instead": [label for label, holds in zip(seen.labels, labels, strict=True) if holds],
                "confidence": round(float(np.where(labels, seen.held_out[row], 1).min()), 4),
            }
            for row, labels in zip(odd.rows.tolist(), odd.instead.tolist(), strict=True)
        ],
    }


def _without_groups(pool: ProjectPool, field: str) -> str:
    """What to say if no task has a group by this field."""
    if why := pool.left_out.get(field):
        return f"the field {field!r} is left out of the records ({why}), so that it makes no groups"
    return f"no labelled task has a field {field!r}"


def _by_group(right: Mask, seen: MonitorInput) -> dict[str, Any]:
    """The groups that are compared, and others up to `MOST_GROUPS`."""
    found = asdict(by_group(right, seen.groups))
    if (seen.groups == NO_GROUP).all():
        found["summary"] = seen.without_groups
    else:
        found["summary"] += "; of all labels, most of them chosen for being hard"
    return {"by": seen.group_by, **found, "accuracy": dict(list(found["accuracy"].items())[:MOST_GROUPS])}


def fall_back(options: ProjectSettings, watch: dict[str, Any] | None) -> tuple[ProjectSettings, str]:
    """The project's options, in random order if this acquisition is found not to win and that is wanted; and why.

    Held until a later look (at twice as many audited answers) finds otherwise, or the setting or strategy changes.
    """
    found = (watch or {}).get("comparison") or {}
    losing = found.get("verdict") == "not winning" and found.get("acquisition") == options.acquisition
    if not options.acquisition_fallback or not losing or options.acquisition == RANDOM:
        return options, ""
    told = f"random order: {options.acquisition} is not winning here (acquisition_fallback)"
    return options.model_copy(update={"acquisition": RANDOM}), told
