"""The numbers of a project for those who only read: `status`, /metrics and /predict never read all annotations.

Whoever holds the project's lease writes them at the end of each round, also of one that found nothing new to publish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np

from ml_backend.core.types import TaskSchema
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.labels import draft_acceptance
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.labels.draft_acceptance import Agreement
from ml_backend.model.fitted_model import FittedModel
from ml_backend.monitoring import coverage, text_check
from ml_backend.monitoring.coverage import Coverage
from ml_backend.monitoring.text_check import TextCheck
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Lease, Store
from ml_backend.storage.stats import Confusion
from ml_backend.teacher import report
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.teacher_labels import TeacherLabels

LAYOUT = 4
"""Grows when the document changes: then it is written anew, and one of before is not read."""


def update(
    store: Store, project: int, schema: TaskSchema, pool: ProjectPool, aggregator: LabelAggregator,
    learner: FittedModel | None, recalled: TeacherLabels | None, lease: Lease | None = None,
) -> None:  # fmt: skip
    """Writes the numbers of a project with a serving `learner`, unless nothing has changed that they come from.

    The document: `labelled` tasks with a counted label, and those of all `tasks` at `tasks_revision`; `coverage` and
    `texts`, what of them can be learnt from; `teacher` as `standing.measure` has it.
    """
    record, labels = store.projects.known(project), aggregator.refresh(schema)
    parts = [
        LAYOUT, labels.revision, labels.digest, schema.labels, schema.multiple, record.published, pool.revision,
        learner.number if learner else None, (recalled.teacher, recalled.given, recalled.digest) if recalled else None,
        store.evolution.finished(project), store.rules.get(project), schema.control, schema.data,
    ]  # fmt: skip
    basis = sha256(json.dumps(parts).encode()).hexdigest()
    if store.stats.basis(project) == basis:
        return
    queue = store.shown.of(project, record.published) if record.published else []
    synthetic = pool.tasks[pool.synthetic]
    judged = np.setdiff1d(learner.lesson.tasks, synthetic) if learner else synthetic[:0]
    measured = report.measure(
        *aggregator.reception(synthetic.tolist()),
        draft_acceptance.learners_share(queue),
        _of_teacher(schema, pool, labels.answers, recalled),
        draft_acceptance.of_learner(learner, synthetic),
        learner,
        recalled.given if recalled else 0,
        len(judged),
        int(np.isin(judged, generated_texts.shown(store, project)).sum()),
    )
    without_text = pool.tasks[pool.without_text]
    answers, overlaps = labels.answers.but_for(pool.tasks[pool.unreadable]), aggregator.overlaps
    covered = coverage.count(store, project, schema, answers, overlaps, without_text, len(pool.tasks))
    texts = text_check.check_counted(store, project, schema, len(pool.tasks), len(without_text))
    document: dict[str, Any] = {
        "layout": LAYOUT,
        "labelled": len(answers.tasks),
        "coverage": asdict(covered),
        "texts": asdict(texts),
        "tasks": len(pool.tasks),
        "tasks_revision": pool.revision,
        "teacher": measured,
    }
    confusion = (
        Confusion(recalled.teacher, schema.labels, schema.multiple, recalled.drafting)
        if recalled and len(recalled.tasks)
        else None
    )
    store.stats.write(project, basis, document, confusion, lease)


def read(store: Store, project: int) -> dict[str, Any]:
    """The document, {} as long as no round of this release has written it."""
    document = store.stats.document(project)
    return document if document.get("layout") == LAYOUT else {}


def checks(store: Store, project: int, schema: TaskSchema, document: Mapping[str, Any]) -> tuple[Coverage, TextCheck]:
    """How far the tasks and answers of a project can be learnt from, as the last round has counted them in the
    `document`; before the first one, counted from all there is."""
    if "coverage" in document:
        return coverage.read(document["coverage"]), text_check.read(document["texts"])
    aggregator = LabelAggregator(store, project)
    tasks, without_text = store.tasks.count(project), store.tasks.without_text(project)
    answers = aggregator.refresh(schema).answers.but_for(without_text)
    return (
        coverage.count(store, project, schema, answers, aggregator.overlaps, without_text, tasks),
        text_check.check_counted(store, project, schema, tasks, len(without_text)),
    )


def _of_teacher(
    schema: TaskSchema, pool: ProjectPool, answers: AggregatedLabels, recalled: TeacherLabels | None
) -> Agreement:
    if recalled is None:
        return Agreement()
    said, targets = recalled.compare(answers.but_for(pool.tasks[pool.synthetic]))
    return draft_acceptance.agreement(said, targets, schema.labels, schema.multiple, draft_acceptance.BY_TEACHER)
