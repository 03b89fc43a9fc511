"""Keeps a project's counts in one row, so that `status`, /metrics and /predict never read all annotations.

The worker that holds the project's lease writes the row at the end of each round, even if the round published nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.types import EstimateSource
from ml_backend.kinds.aggregation import AggregatedLabels
from ml_backend.kinds.lookup import fit_properties
from ml_backend.labels import draft_acceptance
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.labels.draft_acceptance import Agreement
from ml_backend.model.project_model import ProjectModel, models_of
from ml_backend.monitoring.coverage import Coverage, PoolSize, count_coverage, coverage_from_document
from ml_backend.monitoring.text_check import TextCheck, check_stored_tasks, text_check_from_document
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import Lease, PublishedDraft, Store
from ml_backend.storage.stats import StoredReliability
from ml_backend.teacher import report
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.teacher_labels import TeacherLabels

LAYOUT = 8
"""Version of the document's layout. A document of another version is ignored, and replaced by the next round."""


@dataclass(frozen=True, slots=True)
class StatsInputs:
    """The state of a project that its document is made from.

    model           the fitted models that serve, None before there is one
    teacher_labels  the labels of the project's teacher by control; none without a teacher
    """

    project: int
    schema: ProjectSchema
    pool: PoolContents
    aggregator: LabelAggregator
    model: ProjectModel | None = None
    teacher_labels: Mapping[str, TeacherLabels] = field(default_factory=dict)


def update(store: Store, stats_inputs: StatsInputs, lease: Lease | None = None) -> None:
    """Writes the document of a project, unless its inputs are those of the stored one. Raises LeaseLostError.

    The document has `labelled`, the number of tasks with a counted label of any control; `words`, the number of words
    in their texts, None unless learners read words; `tasks`, the number of all tasks at `tasks_revision`; `texts` (see
    `TextCheck`); `saved` (see `TimeSaved`); and `controls`, for each control its `coverage` (see `Coverage`) and
    `teacher` (see `report.measure_teacher`).
    """
    project, schema, pool = stats_inputs.project, stats_inputs.schema, stats_inputs.pool
    teacher_labels = stats_inputs.teacher_labels
    project_row, snapshot = store.projects.require(project), stats_inputs.aggregator.refresh(schema.controls)
    teacher_state = [(labels.teacher, labels.label_count, labels.digest) for labels in teacher_labels.values()]
    digested = [
        LAYOUT, snapshot.revision, snapshot.digest, repr(schema), project_row.published, pool.revision,
        stats_inputs.model.number if stats_inputs.model else None, teacher_state,
        store.evolution_rounds.finished(project), store.serving_rules.get(project),
    ]  # fmt: skip
    inputs_digest = sha256(json.dumps(digested).encode()).hexdigest()
    if store.stats.inputs_digest(project) == inputs_digest:
        return
    pool_size = PoolSize(len(pool.tasks), pool.tasks[pool.without_text])
    queue = store.published_drafts.of(project, project_row.published) if project_row.published else []
    labelled: Ints = np.empty(0, np.int64)
    controls: dict[str, Any] = {}
    for control in schema.controls:
        aggregated = snapshot.by_control[control.name].without_tasks(pool.tasks[pool.unreadable])
        labelled = np.union1d(labelled, aggregated.tasks)
        coverage = count_coverage(store, project, control, aggregated, stats_inputs.aggregator, pool_size)
        teacher = _teacher_document(store, stats_inputs, control, snapshot.by_control[control.name], queue)
        controls[control.name] = {"coverage": asdict(coverage), "teacher": teacher}
    document: dict[str, Any] = {
        "layout": LAYOUT,
        "labelled": len(labelled),
        "words": pool.count_words(pool.rows_of(labelled)),
        "controls": controls,
        "saved": asdict(stats_inputs.aggregator.time_saved(pool.tasks[pool.synthetic].tolist())),
        "texts": asdict(check_stored_tasks(store, project, schema.input, len(pool.tasks), len(pool_size.without_text))),
        "tasks": len(pool.tasks),
        "tasks_revision": pool.revision,
    }
    reliabilities = {
        control.name: StoredReliability(labels.teacher, fit_properties(control), labels.draft_reliability)
        for control in schema.controls
        if (labels := teacher_labels.get(control.name)) and len(labels.tasks)
    }
    store.stats.write(project, inputs_digest, document, reliabilities, lease)


def _teacher_document(
    store: Store,
    stats_inputs: StatsInputs,
    control: ControlSchema,
    aggregated: AggregatedLabels,
    queue: Sequence[PublishedDraft],
) -> dict[str, Any]:
    """The measurements of the teacher and of the drafts for one control. `queue`: the drafts of the published
    version"""
    project, pool = stats_inputs.project, stats_inputs.pool
    learner = models_of(stats_inputs.model).get(control.name)
    teacher_labels = stats_inputs.teacher_labels.get(control.name)
    synthetic = pool.tasks[pool.synthetic]
    evaluated = np.setdiff1d(learner.snapshot.tasks, synthetic) if learner else synthetic[:0]
    seen_by_teacher = np.isin(evaluated, generated_texts.shown_task_ids(store, project))
    return report.measure_teacher(
        stats_inputs.aggregator.draft_use(control.name, synthetic.tolist()),
        draft_acceptance.learner_draft_share(queue, control.name),
        {
            "teacher": _teacher_agreement(control, pool, aggregated, teacher_labels),
            "learner": draft_acceptance.learner_agreement(learner, control, synthetic),
        },
        learner,
        teacher_labels.label_count if teacher_labels else 0,
        report.JudgedAnnotations(len(evaluated), int(seen_by_teacher.sum())),
    )


def read(store: Store, project: int) -> dict[str, Any]:
    """The stored document, {} as long as no round of this release has written it."""
    document = store.stats.document(project)
    return document if document.get("layout") == LAYOUT else {}


def coverage_and_texts(
    store: Store, project: int, schema: ProjectSchema, document: Mapping[str, Any]
) -> tuple[dict[str, Coverage], TextCheck]:
    """The coverage of each control and the text check of a project: from the `document`, or counted from all
    annotations before the first round."""
    stored = document.get("controls", {})
    if all(control.name in stored for control in schema.controls):
        coverage = {
            control.name: coverage_from_document(stored[control.name]["coverage"]) for control in schema.controls
        }
        return coverage, text_check_from_document(document["texts"])
    aggregator = LabelAggregator(store, project)
    n_tasks, without_text = store.tasks.count(project), store.tasks.without_text(project)
    by_control = aggregator.refresh(schema.controls).by_control
    pool_size = PoolSize(n_tasks, without_text)
    coverage = {
        control.name: count_coverage(
            store, project, control, by_control[control.name].without_tasks(without_text), aggregator, pool_size
        )
        for control in schema.controls
    }
    return coverage, check_stored_tasks(store, project, schema.input, n_tasks, len(without_text))


def _teacher_agreement(
    control: ControlSchema, pool: PoolContents, aggregated: AggregatedLabels, teacher_labels: TeacherLabels | None
) -> Agreement:
    if teacher_labels is None:
        return Agreement()
    probabilities, targets = teacher_labels.compare(aggregated.without_tasks(pool.tasks[pool.synthetic]))
    return draft_acceptance.agreement(probabilities, targets, control, EstimateSource.TEACHER_LABELS)
