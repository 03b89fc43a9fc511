"""Keeps a project's counts in one row, so that `status`, /metrics and /predict never read all annotations.

The worker that holds the project's lease writes the row at the end of each round, even if the round published nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.types import EstimateSource
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.labels import draft_acceptance
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.labels.draft_acceptance import Agreement
from ml_backend.model.fitted_model import FittedModel
from ml_backend.monitoring.coverage import Coverage, PoolSize, count_coverage, coverage_from_document
from ml_backend.monitoring.text_check import TextCheck, check_stored_tasks, text_check_from_document
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import Lease, Store
from ml_backend.storage.stats import Confusion
from ml_backend.teacher import report
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.teacher_labels import TeacherLabels

LAYOUT = 5
"""Version of the document's layout. A document of another version is ignored, and replaced by the next round."""


@dataclass(frozen=True, slots=True)
class StatsInputs:
    """The state of a project that its document is made from.

    learner         the fitted model that serves, None before there is one
    teacher_labels  the labels of the project's teacher, None without a teacher
    """

    project: int
    schema: ProjectSchema
    pool: PoolContents
    aggregator: LabelAggregator
    learner: FittedModel | None = None
    teacher_labels: TeacherLabels | None = None


def update(store: Store, stats_inputs: StatsInputs, lease: Lease | None = None) -> None:
    """Writes the document of a project, unless its inputs are those of the stored one. Raises LeaseLostError.

    The document has `labelled`, the number of tasks with a counted label; `tasks`, the number of all tasks at
    `tasks_revision`; `coverage` (see `Coverage`) and `texts` (see `TextCheck`); `teacher` (see `report.measure`).
    """
    project, schema, pool = stats_inputs.project, stats_inputs.schema, stats_inputs.pool
    learner, teacher_labels = stats_inputs.learner, stats_inputs.teacher_labels
    project_row, labels = store.projects.require(project), stats_inputs.aggregator.refresh(schema.control)
    teacher_state = (
        (teacher_labels.teacher, teacher_labels.label_count, teacher_labels.digest)
        if teacher_labels is not None
        else None
    )
    digested = [
        LAYOUT, labels.revision, labels.digest, schema.control.labels, schema.control.multiple, project_row.published,
        pool.revision, learner.number if learner else None, teacher_state,
        store.evolution_rounds.finished(project), store.serving_rules.get(project), schema.control.name,
        schema.input.data,
    ]  # fmt: skip
    inputs_digest = sha256(json.dumps(digested).encode()).hexdigest()
    if store.stats.inputs_digest(project) == inputs_digest:
        return
    pool_size = PoolSize(len(pool.tasks), pool.tasks[pool.without_text])
    aggregated = labels.aggregated.without_tasks(pool.tasks[pool.unreadable])
    counts = count_coverage(store, project, schema.control, aggregated, stats_inputs.aggregator.overlaps, pool_size)
    document: dict[str, Any] = {
        "layout": LAYOUT,
        "labelled": len(aggregated.tasks),
        "coverage": asdict(counts),
        "texts": asdict(check_stored_tasks(store, project, schema.input, len(pool.tasks), len(pool_size.without_text))),
        "tasks": len(pool.tasks),
        "tasks_revision": pool.revision,
        "teacher": _teacher_document(store, stats_inputs, labels.aggregated, project_row.published),
    }
    confusion = (
        Confusion(
            teacher_labels.teacher, schema.control.labels, schema.control.multiple, teacher_labels.draft_confusion
        )
        if teacher_labels and len(teacher_labels.tasks)
        else None
    )
    store.stats.write(project, inputs_digest, document, confusion, lease)


def _teacher_document(
    store: Store, stats_inputs: StatsInputs, aggregated: AggregatedLabels, published: str | None
) -> dict[str, Any]:
    """The measurements of the teacher, and of the drafts in the published version."""
    project, pool, learner = stats_inputs.project, stats_inputs.pool, stats_inputs.learner
    queue = store.published_drafts.of(project, published) if published else []
    synthetic = pool.tasks[pool.synthetic]
    evaluated = np.setdiff1d(learner.snapshot.tasks, synthetic) if learner else synthetic[:0]
    seen_by_teacher = np.isin(evaluated, generated_texts.shown_task_ids(store, project))
    return report.measure_teacher(
        stats_inputs.aggregator.draft_use(synthetic.tolist()),
        draft_acceptance.learner_draft_share(queue),
        {
            "teacher": _teacher_agreement(stats_inputs.schema.control, pool, aggregated, stats_inputs.teacher_labels),
            "learner": draft_acceptance.learner_agreement(learner, synthetic),
        },
        learner,
        stats_inputs.teacher_labels.label_count if stats_inputs.teacher_labels else 0,
        report.JudgedAnnotations(len(evaluated), int(seen_by_teacher.sum())),
    )


def read(store: Store, project: int) -> dict[str, Any]:
    """The stored document, {} as long as no round of this release has written it."""
    document = store.stats.document(project)
    return document if document.get("layout") == LAYOUT else {}


def coverage_and_texts(
    store: Store, project: int, schema: ProjectSchema, document: Mapping[str, Any]
) -> tuple[Coverage, TextCheck]:
    """The coverage and the text check of a project: from the `document`, or counted from all annotations before the
    first round."""
    if "coverage" in document:
        return coverage_from_document(document["coverage"]), text_check_from_document(document["texts"])
    aggregator = LabelAggregator(store, project)
    n_tasks, without_text = store.tasks.count(project), store.tasks.without_text(project)
    aggregated = aggregator.refresh(schema.control).aggregated.without_tasks(without_text)
    return (
        count_coverage(
            store, project, schema.control, aggregated, aggregator.overlaps, PoolSize(n_tasks, without_text)
        ),
        check_stored_tasks(store, project, schema.input, n_tasks, len(without_text)),
    )


def _teacher_agreement(
    control: ControlSchema, pool: PoolContents, aggregated: AggregatedLabels, teacher_labels: TeacherLabels | None
) -> Agreement:
    if teacher_labels is None:
        return Agreement()
    probabilities, targets = teacher_labels.compare(aggregated.without_tasks(pool.tasks[pool.synthetic]))
    return draft_acceptance.agreement(
        probabilities, targets, control.labels, control.multiple, EstimateSource.TEACHER_LABELS
    )
