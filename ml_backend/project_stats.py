"""The numbers of a project for those who only read: `status`, /metrics and /predict never read all annotations.

Whoever holds the project's lease writes them at the end of each round, also of one that found nothing new to publish.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from ml_backend.aggregation import Aggregator
from ml_backend.consensus import Answers
from ml_backend.domain import TaskSchema
from ml_backend.knowledge import Knowledge
from ml_backend.pool import ProjectPool
from ml_backend.store import Store
from ml_backend.store.stats import Confusion
from ml_backend.teaching import agreement, standing
from ml_backend.teaching.agreement import Agreement
from ml_backend.teaching.recall import Recall

LAYOUT = 1
"""Grows when the document changes: then it is written anew."""


def update(
    store: Store, project: int, schema: TaskSchema, pool: ProjectPool, aggregator: Aggregator,
    learner: Knowledge | None, recalled: Recall | None,
) -> None:  # fmt: skip
    """Writes the numbers of a project with a serving `learner`, unless nothing has changed that they come from.

    The document: `labelled` tasks with a counted label, and those of all `tasks` at `tasks_revision`; `teacher` as
    `standing.measure` has it.
    """
    record, labels = store.projects.known(project), aggregator.refresh(schema)
    parts = [
        LAYOUT, labels.revision, labels.digest, schema.labels, schema.multiple, record.published, record.tasks_revision,
        learner.number if learner else None, (recalled.teacher, recalled.given, recalled.digest) if recalled else None,
    ]  # fmt: skip
    basis = sha256(json.dumps(parts).encode()).hexdigest()
    if store.stats.basis(project) == basis:
        return
    queue = store.shown.of(project, record.published) if record.published else []
    measured = standing.measure(
        *aggregator.reception(pool.tasks[pool.synthetic].tolist()),
        agreement.learners_share(queue),
        _of_teacher(schema, pool, labels.answers, recalled),
        agreement.of_learner(learner, pool.tasks[pool.synthetic]),
        learner,
        recalled.given if recalled else 0,
    )
    document: dict[str, Any] = {
        "labelled": len(labels.answers.tasks),
        "tasks": len(pool.tasks),
        "tasks_revision": record.tasks_revision,
        "teacher": measured,
    }
    confusion = (
        Confusion(recalled.teacher, schema.labels, schema.multiple, recalled.drafting)
        if recalled and len(recalled.tasks)
        else None
    )
    store.stats.write(project, basis, document, confusion)


def _of_teacher(schema: TaskSchema, pool: ProjectPool, answers: Answers, recalled: Recall | None) -> Agreement:
    if recalled is None:
        return Agreement()
    said, targets = recalled.compare(answers.but_for(pool.tasks[pool.synthetic]))
    return agreement.agreement(said, targets, schema.labels, schema.multiple, agreement.BY_TEACHER)
