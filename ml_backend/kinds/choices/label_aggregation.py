"""Several annotators, one target: what the humans say about each task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ml_backend.core.types import Annotation, Floats, Ints, TaskSchema

MARK_BYTES = 16


@dataclass(frozen=True, slots=True)
class AggregatedLabels:
    """What is known from humans.

    tasks    (n,) int64, ascending: the tasks with a counted label
    targets  (n, c) float32: for one choice a distribution, for several a share of votes per label
    touched  (m,) int64, ascending: every task with a standing answer or skip, the labelled ones included
    """

    tasks: Ints
    targets: Floats
    touched: Ints

    def but_for(self, apart: Ints) -> AggregatedLabels:
        """Without the labels of some tasks."""
        left = ~np.isin(self.tasks, apart)
        return AggregatedLabels(self.tasks[left], self.targets[left], self.touched)


def mark_of(answers: AggregatedLabels) -> int:
    """What some tasks add to the digest of all, or take out of it: both by exclusive or."""
    targets = dict(zip(answers.tasks.tolist(), answers.targets, strict=True))
    mark = 0
    for task in answers.touched.tolist():
        target = targets.get(task)
        content = task.to_bytes(8, "little", signed=True) + (b"" if target is None else target.tobytes())
        mark ^= int.from_bytes(blake2b(content, digest_size=MARK_BYTES).digest(), "little")
    return mark


def as_digest(mark: int) -> str:
    """The digest of the tasks whose marks are combined."""
    return mark.to_bytes(MARK_BYTES, "little").hex()


def consensus(schema: TaskSchema, annotations: Iterable[Annotation]) -> AggregatedLabels:
    """Majority of the annotators, each with the latest answer; a tie stays a soft label.

    A ground-truth answer stands above the others of its task. Labels that are no longer in the schema are passed over,
    and with several choices an empty answer means "none of them", unless it is one that could not be read.
    """
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_task[annotation.task].append(annotation)
    targets = {task: target for task, group in by_task.items() if (target := vote(schema, group)) is not None}
    tasks = sorted(targets)
    return AggregatedLabels(
        np.array(tasks, np.int64),
        np.array([targets[task] for task in tasks], np.float32).reshape(len(tasks), len(schema.labels)),
        np.array(sorted(by_task), np.int64),
    )


def vote(schema: TaskSchema, group: list[Annotation]) -> Floats | None:
    """(c,) float32 the target of a task from all its annotations, None if none of them counts."""
    ballots = [ballot for answer in _standing(group) if (ballot := _ballot(schema, answer)) is not None]
    if not ballots:
        return None
    votes = np.mean(ballots, axis=0)
    if schema.multiple:
        return np.where(votes == 0.5, 0.5, votes > 0.5).astype(np.float32)
    winners = (votes == votes.max()).astype(np.float32)
    return np.asarray(winners / winners.sum())


def _standing(group: list[Annotation]) -> list[Annotation]:
    latest: dict[int | None, Annotation] = {}
    for answer in sorted(group, key=lambda each: (each.updated_at, each.id)):
        if not answer.cancelled:
            # an answer without an annotator (imported) stands for itself
            latest[answer.annotator if answer.annotator is not None else -answer.id] = answer
    truths = [answer for answer in latest.values() if answer.ground_truth]
    return truths or list(latest.values())


def _ballot(schema: TaskSchema, answer: Annotation) -> Floats | None:
    chosen = [schema.labels.index(choice) for choice in answer.choices if choice in schema.labels]
    if not answer.is_read or (not chosen and (answer.choices or not schema.multiple)):
        return None
    ballot = np.zeros(len(schema.labels), np.float32)
    ballot[chosen] = 1.0 if schema.multiple else 1.0 / len(chosen)
    return ballot
