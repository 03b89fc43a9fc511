"""The error analysis of the serving learner: which labels it confuses, on which labels, clusters and groups it does
worst, and typical mistakes. Uses the learner's held-out predictions for the annotated tasks, and needs no teacher.

The analysis guides the writing of texts (EvoKD, arXiv 2403.06414, section 3.2) and has figures by class, as in PGKD
(Di Palo et al., EMNLP 2024). Tasks that a teacher has written are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Estimate
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.group_metrics import GroupMetrics, metrics_by_group
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import load_best, models_of
from ml_backend.pool.task_groups import task_group_names
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.confusions import (
    Confusion,
    JudgedAnswers,
    QuotedAnswer,
    confused_pairs,
    correct_examples,
    single_mistakes,
    typical_rows,
)
from ml_backend.teacher.evolution.part_analysis import JudgedParts, PartAnalysis, analyse_parts
from ml_backend.teacher.project_context import ProjectContext


@dataclass(frozen=True, slots=True)
class LabelScore:
    """The F1 score of a label, and `n`, the number of annotated tasks with the label."""

    label: str
    f1: float
    n: int


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """The mistakes of the learner of version `version`, measured on n annotated tasks.

    accuracy  the mean score, with the name `score_name`; if there are `parts`, the metric over all parts
    parts     the errors in the parts of drafts, None if values are judged as a whole
    metrics   other metrics of the kind of label by name
    pairs     the confused labels, the most frequent pair first
    single    mistakes that belong to no pair
    labels    scores by label, the worst first
    clusters  the accuracy in the clusters of the pool, the worst first; `about`: a typical text of each cluster
    groups    the accuracy in the groups of the project's `group_by`, or None without that setting
    right     a correctly predicted task for each label of the pairs
    shown     how many of the n tasks a teacher saw with their labels before it wrote texts
    """

    version: int
    n: int
    accuracy: Estimate | None
    score_name: str
    metrics: Mapping[str, float]
    pairs: tuple[Confusion, ...]
    single: tuple[QuotedAnswer, ...]
    labels: tuple[LabelScore, ...]
    clusters: GroupMetrics
    about: Mapping[str, str]
    groups: GroupMetrics | None
    group_by: str
    right: tuple[QuotedAnswer, ...]
    shown: int
    parts: PartAnalysis | None


def load_serving_learner(context: ProjectContext) -> FittedModel:
    """Loads the serving learner of the control. Raises ApprenticeError if there is none, or if the labels have changed
    since."""
    store, project = context.store, context.project_row.id
    several = len(context.schema.controls) > 1
    subject = f"The control {context.control.name!r} of project {project}" if several else f"Project {project}"
    served, problem = load_best(store, store.versions.active(project), context.pool.space)
    model = models_of(served).get(context.control.name)
    if model is None and problem is not None:
        raise ApprenticeError(
            f"{subject} has no learner that can serve: `apprentice status --project {project}` says why. Wait for the "
            "next round"
        )
    if model is None:
        raise ApprenticeError(
            f"{subject} has no learner yet: annotate tasks with at least two different labels, and wait for the next "
            "round"
        )
    if not model.snapshot.is_for(context.control):
        raise ApprenticeError(f"{subject} has other labels now: wait for the next round")
    return model


def analyse_errors(context: ProjectContext, learner: FittedModel, unquoted: Collection[int] = ()) -> ErrorAnalysis:
    """Analyses the mistakes of a learner. The tasks in `unquoted` count, but their texts are not quoted.

    Raises ApprenticeError if none of the learner's training tasks is left.
    """
    store, pool, project, snapshot = context.store, context.pool, context.project_row.id, learner.snapshot
    is_usable = np.isin(snapshot.tasks, pool.tasks) & pool.is_not_generated(snapshot.tasks)
    if not is_usable.any():
        raise ApprenticeError(
            f"Project {project} has none of the tasks left that its learner was trained on: annotate more tasks, and "
            "wait for the next round"
        )
    tasks, targets, held_out = snapshot.tasks[is_usable], snapshot.targets[is_usable], learner.held_out[is_usable]
    rows, control, of_kind = pool.rows_of(tasks), context.control, kind_of(context.control)
    scores, drafts = of_kind.scores(control, held_out, targets), of_kind.drafts(control, held_out)
    judged = JudgedAnswers(
        labels=control.labels,
        tasks=tasks,
        texts=store.tasks.texts(project, tasks.tolist()),
        vectors=pool.encoded_vectors(rows),
        values=[of_kind.in_words(control, value) for value in of_kind.target_values(control, targets)],
        drafts=[(of_kind.in_words(control, draft[0]), draft[1]) if draft else ((), 0.0) for draft in drafts],
        masks=of_kind.label_masks(control, held_out, targets),
        errors=1 - scores,
        is_quotable=~np.isin(tasks, list(unquoted)),
    )
    pairs = confused_pairs(judged)
    clusters = task_group_names(pool, "", rows)
    field = context.options.group_by
    return ErrorAnalysis(
        version=learner.number,
        n=len(tasks),
        accuracy=audit_sample.estimate_accuracy(
            scores,
            tasks,
            np.array(store.versions.audited(project)),
            of_kind.score_weights(control, held_out, targets),
        ),
        score_name=of_kind.score_name(control),
        metrics=of_kind.metrics(control, held_out, targets),
        pairs=pairs,
        single=single_mistakes(judged, pairs),
        labels=_label_scores(of_kind.label_scores(control, held_out, targets)),
        clusters=metrics_by_group(scores, clusters),
        about=_typical_texts(judged, clusters),
        groups=metrics_by_group(scores, task_group_names(pool, field, rows)) if field else None,
        group_by=field,
        right=correct_examples(judged, pairs),
        shown=int(np.isin(tasks, generated_texts.shown_task_ids(store, project)).sum()),
        parts=analyse_parts(
            control,
            JudgedParts(tasks.tolist(), judged.texts, held_out, targets, judged.is_quotable),
            store.annotations.of_tasks(project, tasks.tolist()),
        )
        if of_kind.part_name
        else None,
    )


def _label_scores(scores: Mapping[str, tuple[float, int]]) -> tuple[LabelScore, ...]:
    """The scores of labels, the worst first. `scores`: the F1 score of each label, and the number of tasks with it"""
    label_scores = [LabelScore(label, f1, n) for label, (f1, n) in scores.items()]
    return tuple(sorted(label_scores, key=lambda score: (score.f1, -score.n, score.label)))


def _typical_texts(judged: JudgedAnswers, groups: npt.NDArray[np.str_]) -> dict[str, str]:
    """A typical text of each group by the group's name, because people cannot interpret the number of a cluster."""
    texts = {}
    for name in np.unique(groups).tolist():
        rows = np.flatnonzero((groups == name) & judged.is_quotable)
        if len(rows):
            texts[name] = judged.texts[rows[typical_rows(judged.vectors[rows], 1)[0]]]
    return texts
