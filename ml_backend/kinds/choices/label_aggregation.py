"""Aggregates the annotations of several annotators into one target for each task, by majority vote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation, Label

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class AggregatedLabels:
    """The targets of the labelled tasks of a project.

    tasks    (n,) int64, ascending: ids of the tasks with a target
    targets  (n, c) float32: with a single choice, a distribution over the labels; with several choices, 0, 1 or 0.5
             (evenly split annotators) for each label
    annotated_or_skipped  (m,) int64, ascending: ids of the tasks with an annotation or a skip, including `tasks`
    """

    tasks: Ints
    targets: Floats
    annotated_or_skipped: Ints

    def without_tasks(self, excluded: Ints) -> AggregatedLabels:
        """A copy without the targets of the tasks with the ids `excluded`; `annotated_or_skipped` is the
        same."""
        is_kept = ~np.isin(self.tasks, excluded)
        return AggregatedLabels(self.tasks[is_kept], self.targets[is_kept], self.annotated_or_skipped)


def digest_value(labels: AggregatedLabels) -> int:
    """The digest of all annotated or skipped tasks, as a number: the exclusive or of the hash of each task's id and
    target.

    Therefore the exclusive or of two disjoint sets' values is the value of their union, and tasks can be added to and
    removed from a digest.
    """
    target_of = dict(zip(labels.tasks.tolist(), labels.targets, strict=True))
    value = 0
    for task in labels.annotated_or_skipped.tolist():
        target = target_of.get(task)
        content = task.to_bytes(8, "little", signed=True) + (b"" if target is None else target.tobytes())
        value ^= int.from_bytes(blake2b(content, digest_size=DIGEST_BYTES).digest(), "little")
    return value


def digest_text(value: int) -> str:
    """A digest from `digest_value`, as hexadecimal text."""
    return value.to_bytes(DIGEST_BYTES, "little").hex()


def aggregate_annotations(control: ControlSchema, annotations: Iterable[Annotation]) -> AggregatedLabels:
    """Aggregates annotations by majority vote. Each annotator has one vote, from the latest annotation; a tie becomes a
    soft label.

    If a task has ground-truth annotations, only these count. Labels that are no longer in the schema are ignored. With
    several choices, an empty annotation means that no label applies, unless the annotation could not be read.
    """
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_task[annotation.task].append(annotation)
    targets = {
        task: target for task, of_task in by_task.items() if (target := aggregate_task(control, of_task)) is not None
    }
    tasks = sorted(targets)
    return AggregatedLabels(
        np.array(tasks, np.int64),
        np.array([targets[task] for task in tasks], np.float32).reshape(len(tasks), len(control.labels)),
        np.array(sorted(by_task), np.int64),
    )


def aggregate_task(control: ControlSchema, annotations: list[Annotation]) -> Floats | None:
    """(c,) float32: the target of one task from all its annotations, None if no annotation counts."""
    labels = [
        label for annotation in _counted_annotations(annotations) if (label := annotation.labels.get(control.name))
    ]
    votes = [vote for label in labels if (vote := _vote(control, label)) is not None]
    if not votes:
        return None
    shares = np.mean(votes, axis=0)
    if control.multiple:
        return np.where(shares == 0.5, 0.5, shares > 0.5).astype(np.float32)
    winners = (shares == shares.max()).astype(np.float32)
    return np.asarray(winners / winners.sum())


def _counted_annotations(annotations: list[Annotation]) -> list[Annotation]:
    """The latest annotation of each annotator; only the ground truth among these, if there is any."""
    latest: dict[int | None, Annotation] = {}
    for annotation in sorted(annotations, key=lambda annotation: (annotation.updated_at, annotation.id)):
        if not annotation.cancelled:
            # imported annotations have no annotator: each of them counts
            annotator = annotation.annotator if annotation.annotator is not None else -annotation.id
            latest[annotator] = annotation
    ground_truth = [annotation for annotation in latest.values() if annotation.ground_truth]
    return ground_truth or list(latest.values())


def _vote(control: ControlSchema, label: Label) -> Floats | None:
    """(c,) float32: the vote of one annotation, None if it does not count."""
    columns = [control.labels.index(choice) for choice in label.value if choice in control.labels]
    if not label.is_read or (not columns and (label.value or not control.multiple)):
        return None
    vote = np.zeros(len(control.labels), np.float32)
    vote[columns] = 1.0 if control.multiple else 1.0 / len(columns)
    return vote
