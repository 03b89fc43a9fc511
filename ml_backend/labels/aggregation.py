"""Aggregates the labels of a project task by task as annotations change: the cost of one more annotation does not grow
with the number of annotations. The result equals `aggregate_annotations` of all annotations, bit for bit.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels, aggregate_task, digest_text, digest_value
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import DraftUse
from ml_backend.storage import PublishedDraft, Store

BEFORE_FIRST_REVISION = -1


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """The labels of a project at a revision of its annotations.

    aggregated  the aggregated labels
    digest      a hash, which is the same for the same aggregated labels
    """

    revision: int
    aggregated: AggregatedLabels
    digest: str


class LabelAggregator:
    """Aggregates the annotations of one project. It is safe to use from several threads, and never changes the values
    that it has returned."""

    def __init__(self, store: Store, project: int) -> None:
        self._store = store
        self._project = project
        self._lock = threading.Lock()
        self._schema_key: tuple[object, ...] = ()
        self._reset(())

    def _reset(self, schema_key: tuple[object, ...], label_count: int = 0) -> None:
        self._schema_key = schema_key
        self._revision = BEFORE_FIRST_REVISION
        no_tasks: Ints = np.empty(0, np.int64)
        self._labels = AggregatedLabels(no_tasks, np.empty((0, label_count), np.float32), no_tasks)
        self._digest = 0  # of `_labels`
        self._first_annotated: dict[int, str] = {}  # task -> earliest `updated_at` of its annotations
        self._annotation_counts: dict[int, int] = {}  # task -> number of its annotations, without skips
        self._overlaps: Counter[int] = Counter()  # number of annotations -> number of tasks with so many
        self._single: set[int] = set()  # tasks with one annotation, which is no ground truth
        self._acceptance = AcceptanceCounts()

    def refresh(self, control: ControlSchema) -> LabelSnapshot:
        """Returns the current labels. Reads only the annotations of tasks that have changed since the last call; reads
        all of them in the first call, after a change of the schema, and after annotations were removed."""
        with self._lock:
            annotations, drafts = self._store.annotations, self._store.published_drafts
            current, schema_key = annotations.revision(self._project), (control.labels, control.multiple)
            since = self._revision
            if schema_key != self._schema_key or not current.complete <= since <= current.number:
                self._reset(schema_key, len(control.labels))
                self._update(control, annotations.of(self._project), drafts.of(self._project))
            elif current.number > since:
                tasks = annotations.changed_since(self._project, since) | drafts.changed_since(self._project, since)
                of_tasks = annotations.of_tasks(self._project, tasks), drafts.of_tasks(self._project, tasks)
                self._update(control, *of_tasks, tasks)
            self._revision = current.number
            return LabelSnapshot(self._revision, self._labels, digest_text(self._digest))

    @property
    def overlaps(self) -> dict[int, int]:
        """Number of annotations, at least 1 and without skips -> number of tasks with so many."""
        with self._lock:
            return {count: tasks for count, tasks in self._overlaps.items() if count and tasks}

    def first_annotated_at(self, tasks: Ints) -> list[str]:
        """The earliest `updated_at` of each task's annotations; "" for a task without annotations."""
        with self._lock:
            return [self._first_annotated.get(task, "") for task in tasks.tolist()]

    def has_single_annotation(self, tasks: Ints) -> Mask:
        """(n,) bool: whether each of n tasks has exactly one annotation, which is no ground truth."""
        with self._lock:
            return np.array([task in self._single for task in tasks.tolist()], np.bool_)

    def draft_use(self, excluded: Iterable[int]) -> DraftUse:
        """The use of the drafts. Only the number of published tasks counts the tasks with the ids `excluded`."""
        with self._lock:
            return self._acceptance.without(excluded)

    def _update(
        self,
        control: ControlSchema,
        annotations: list[Annotation],
        drafts: list[PublishedDraft],
        changed: Collection[int] = (),
    ) -> None:
        """Replaces the data of some tasks.

        annotations, drafts  all that these tasks have now
        changed              ids of the tasks, needed for tasks that have neither annotations nor drafts any more
        """
        by_task: dict[int, list[Annotation]] = defaultdict(list)
        for annotation in annotations:
            by_task[annotation.task].append(annotation)
        draft_of = {draft.task: draft for draft in drafts}
        tasks = sorted({*by_task, *draft_of, *changed})
        for task in tasks:
            of_task = by_task.get(task, [])
            self._acceptance.update(task, draft_of.get(task), of_task)
            self._update_annotation_counts(task, [annotation for annotation in of_task if not annotation.cancelled])

        target_of = _aggregate_tasks(control, by_task)
        labelled = sorted(target_of)
        targets = np.array([target_of[task] for task in labelled], np.float32).reshape(-1, len(control.labels))
        new = AggregatedLabels(np.array(labelled, np.int64), targets, np.array(sorted(by_task), np.int64))
        old = self._labels
        rows, touched = _rows_of(old.tasks, tasks), _rows_of(old.annotated_or_skipped, tasks)
        replaced = AggregatedLabels(old.tasks[rows], old.targets[rows], old.annotated_or_skipped[touched])
        self._digest ^= digest_value(replaced) ^ digest_value(new)
        self._labels = AggregatedLabels(
            _replace_rows(old.tasks, old.tasks, rows, new.tasks, new.tasks),
            _replace_rows(old.tasks, old.targets, rows, new.tasks, new.targets),
            _replace_rows(
                old.annotated_or_skipped,
                old.annotated_or_skipped,
                touched,
                new.annotated_or_skipped,
                new.annotated_or_skipped,
            ),
        )

    def _update_annotation_counts(self, task: int, annotations: list[Annotation]) -> None:
        """Replaces the numbers that come from a task's annotations; `annotations` are all of them, without skips."""
        self._overlaps[self._annotation_counts.pop(task, 0)] -= 1
        self._overlaps[len(annotations)] += 1
        if annotations:
            self._annotation_counts[task] = len(annotations)
            self._first_annotated[task] = min(annotation.updated_at for annotation in annotations)
        else:
            self._first_annotated.pop(task, None)
        is_single = len(annotations) == 1 and not annotations[0].ground_truth
        (self._single.add if is_single else self._single.discard)(task)


class LabelAggregators:
    """The aggregators of the projects that a worker serves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._by_project: dict[int, LabelAggregator] = {}

    def of(self, project: int) -> LabelAggregator:
        """The aggregator of a project, which is created in the first call."""
        with self._lock:
            if project not in self._by_project:
                self._by_project[project] = LabelAggregator(self._store, project)
            return self._by_project[project]

    def keep(self, projects: Collection[int]) -> None:
        """Discards the aggregators of all other projects, to free memory."""
        with self._lock:
            self._by_project = {
                project: aggregator for project, aggregator in self._by_project.items() if project in projects
            }


def _aggregate_tasks(control: ControlSchema, by_task: dict[int, list[Annotation]]) -> dict[int, Floats]:
    """The target of each task that has one. Most tasks have one annotation, and equal annotations are aggregated only
    once."""
    target_of_single: dict[tuple[object, ...], Floats | None] = {}
    targets: dict[int, Floats] = {}
    for task, of_task in by_task.items():
        if len(of_task) == 1:
            key = (of_task[0].cancelled, of_task[0].choices, of_task[0].unread)
            if key not in target_of_single:
                target_of_single[key] = aggregate_task(control, of_task)
            target = target_of_single[key]
        else:
            target = aggregate_task(control, of_task)
        if target is not None:
            targets[task] = target
    return targets


def _rows_of(ids: Ints, tasks: Sequence[int]) -> Ints:
    """The rows of `ids` (n,), ascending, that have one of the `tasks`, ascending."""
    rows = np.searchsorted(ids, np.array(tasks, np.int64))
    is_present = rows < len(ids)
    is_present[is_present] = ids[rows[is_present]] == np.array(tasks, np.int64)[is_present]
    return np.asarray(rows[is_present])


def _replace_rows(ids: Ints, values: Any, rows: Ints, new_ids: Ints, new_values: Any) -> Any:
    """Removes `rows` from the `values` (n, ...) of the `ids` (n,), and inserts `new_values` (m, ...) of the `new_ids`
    (m,) in the order of the ids. All ids are ascending. In most cases the values are copied once and nothing is sorted.
    """
    if np.array_equal(ids[rows], new_ids):
        if np.array_equal(values[rows], new_values):
            return values
        values = values.copy()
        values[rows] = new_values
        return values
    if len(rows):
        ids, values = np.delete(ids, rows), np.delete(values, rows, axis=0)
    return np.insert(values, np.searchsorted(ids, new_ids), new_values, axis=0)
