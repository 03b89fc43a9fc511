"""Where the serving learner is weak: which labels it confuses, which labels, clusters and groups it does worst on, with
typical mistakes. From what it says of each answered task without having learnt from it; no teacher is needed.

The report that guides the writing (EvoKD, arXiv 2403.06414, section 3.2) with figures by class, as in PGKD (Di Palo et
al., EMNLP 2024). Tasks that a teacher has written are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Estimate, Floats
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.group_metrics import GroupMetrics, by_group
from ml_backend.evaluation.metrics import correct, decide, f1
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.pre_annotation import confidence
from ml_backend.pool.task_groups import groups_of
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.confusions import (
    Confusion,
    JudgedAnswers,
    QuotedAnswer,
    pairs_of,
    right_of,
    single_of,
    typical,
)
from ml_backend.teacher.project_context import ProjectContext


@dataclass(frozen=True, slots=True)
class LabelScore:
    label: str
    f1: float
    n: int


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """Of the learner that version `version` made, on n answered tasks.

    pairs     the most frequent first; `single`: mistakes that were made once; `labels`: the worst first
    clusters  of the pool, worst first, and in `about` a typical text of each; `groups` by the project's `group_by`, or
              None
    right     tasks that it gets right, one of each label of the pairs
    shown     how many of the n a teacher was shown with their labels, for the texts that it wrote
    """

    version: int
    n: int
    accuracy: Estimate | None
    pairs: tuple[Confusion, ...]
    single: tuple[QuotedAnswer, ...]
    labels: tuple[LabelScore, ...]
    clusters: GroupMetrics
    about: Mapping[str, str]
    groups: GroupMetrics | None
    group_by: str
    right: tuple[QuotedAnswer, ...]
    shown: int


def serving(site: ProjectContext) -> FittedModel:
    """The learner that serves. Raises ApprenticeError if there is none, or the labels have changed since."""
    found, problem = fitted_model.load_best(site.store, site.store.versions.active(site.record.id), site.pool.space)
    if found is None:
        raise ApprenticeError(
            f"Project {site.record.id} has no learner yet{f' ({problem})' if problem else ''}: it takes answers of two "
            "different labels, and a round after them"
        )
    if found.lesson.labels != site.schema.labels:
        raise ApprenticeError(f"The labels of project {site.record.id} have changed: wait for the next round")
    return found


def weakness(site: ProjectContext, learner: FittedModel, unquoted: Collection[int] = ()) -> ErrorAnalysis:
    """The report on a learner. `unquoted`: tasks whose texts are not to be shown: they count all the same.

    Raises ApprenticeError if none of the tasks that it learnt from is left.
    """
    store, pool, project, lesson = site.store, site.pool, site.record.id, learner.lesson
    kept = np.isin(lesson.tasks, pool.tasks) & pool.real(lesson.tasks)
    if not kept.any():
        raise ApprenticeError(f"None of the tasks that the learner of project {project} learnt from is left")
    tasks, targets, held_out = lesson.tasks[kept], lesson.targets[kept], learner.held_out[kept]
    rows, multiple = pool.rows_of(tasks), lesson.multiple
    judged = JudgedAnswers(
        labels=lesson.labels,
        tasks=tasks,
        texts=store.tasks.texts(project, tasks.tolist()),
        vectors=pool.ensure(rows),
        targets=targets,
        gold=targets > 0.5 if multiple else decide(targets, False),
        said=decide(held_out, multiple),
        sure=confidence(held_out, multiple),
        wrong=~correct(held_out, targets, multiple),
        shown=~np.isin(tasks, list(unquoted)),
    )
    pairs = pairs_of(judged)
    clusters = groups_of(pool, "", rows)
    field = site.options.group_by
    return ErrorAnalysis(
        version=learner.number,
        n=len(tasks),
        accuracy=audit_sample.accuracy(held_out, targets, tasks, np.array(store.versions.audited(project)), multiple),
        pairs=pairs,
        single=single_of(judged, pairs),
        labels=_labels(held_out, targets, lesson.labels, multiple),
        clusters=by_group(~judged.wrong, clusters),
        about=_about(judged, clusters),
        groups=by_group(~judged.wrong, groups_of(pool, field, rows)) if field else None,
        group_by=field,
        right=right_of(judged, pairs),
        shown=int(np.isin(tasks, generated_texts.shown(store, project)).sum()),
    )


def _labels(held_out: Floats, targets: Floats, labels: tuple[str, ...], multiple: bool) -> tuple[LabelScore, ...]:
    there = (decide(held_out, multiple) | decide(targets, multiple)).any(axis=0)
    scores, support = f1(held_out, targets, multiple)
    names = np.array(labels)[there].tolist()
    found = [LabelScore(*row) for row in zip(names, scores.tolist(), support.tolist(), strict=True)]
    return tuple(sorted(found, key=lambda each: (each.f1, -each.n, each.label)))


def _about(judged: JudgedAnswers, groups: npt.NDArray[np.str_]) -> dict[str, str]:
    """A typical text of each group: a number says nothing to people."""
    found = {}
    for name in np.unique(groups).tolist():
        rows = np.flatnonzero((groups == name) & judged.shown)
        if len(rows):
            found[name] = judged.texts[rows[typical(judged.vectors[rows], 1)[0]]]
    return found
