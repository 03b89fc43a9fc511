"""Aggregates the annotations of several annotators into one target for each task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints, Rows, content_bytes
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation, Label
from ml_backend.kinds.lookup import kind_of

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class AggregatedLabels:
    """The targets of the labelled tasks of a project.

    tasks    (n,) int64, ascending: ids of the tasks with a target
    targets  (n, ...) of the kind of label
    annotated_or_skipped  (m,) int64, ascending: ids of the tasks with an annotation or a skip, including `tasks`
    """

    tasks: Ints
    targets: Rows
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
        content = task.to_bytes(8, "little", signed=True) + (b"" if target is None else content_bytes(target))
        value ^= int.from_bytes(blake2b(content, digest_size=DIGEST_BYTES).digest(), "little")
    return value


def digest_text(value: int) -> str:
    """A digest from `digest_value`, as hexadecimal text."""
    return value.to_bytes(DIGEST_BYTES, "little").hex()


def aggregate_annotations(control: ControlSchema, annotations: Iterable[Annotation]) -> AggregatedLabels:
    """Aggregates annotations. Each annotator has one vote, from the latest annotation. If a task has ground-truth
    annotations, only these count."""
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_task[annotation.task].append(annotation)
    targets = {
        task: target for task, of_task in by_task.items() if (target := aggregate_task(control, of_task)) is not None
    }
    tasks = sorted(targets)
    return AggregatedLabels(
        np.array(tasks, np.int64),
        kind_of(control).as_targets(control, [targets[task] for task in tasks]),
        np.array(sorted(by_task), np.int64),
    )


def aggregate_task(control: ControlSchema, annotations: list[Annotation]) -> Any | None:
    """The target of one task from all its annotations, an item of `Kind.as_targets`; None if no annotation counts."""
    labels = counted_labels(control, annotations)
    return kind_of(control).aggregate(control, labels) if labels else None


def counted_labels(control: ControlSchema, annotations: list[Annotation]) -> list[Label]:
    """The labels of one task that count, one of each annotator, from all its annotations."""
    counted = _counted_annotations(annotations)
    return [label for annotation in counted if (label := annotation.labels.get(control.name))]


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
