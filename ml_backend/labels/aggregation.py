"""Aggregates the labels of a project task by task as annotations change: the cost of one more annotation does not grow
with the number of annotations. The result equals `aggregate_annotations` of all annotations, bit for bit.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Ints, Mask
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.aggregation import AggregatedLabels, digest_text
from ml_backend.kinds.lookup import kind_of
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.annotation_times import AnnotationTimes
from ml_backend.labels.control_labels import ControlLabels
from ml_backend.labels.draft_acceptance import DraftUse, TimeSaved
from ml_backend.labels.unread_labels import UnreadGroup, UnreadLabels
from ml_backend.storage import PublishedDraft, Store

BEFORE_FIRST_REVISION = -1


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """The labels of a project at a revision of its annotations.

    by_control            the aggregated labels of each control, by its name
    annotated_or_skipped  (m,) int64, ascending: ids of the tasks with an annotation or a skip
    digest                a hash, which is the same for the same aggregated labels
    """

    revision: int
    by_control: Mapping[str, AggregatedLabels]
    annotated_or_skipped: Ints
    digest: str


class LabelAggregator:
    """Aggregates the annotations of one project. It is safe to use from several threads, and never changes the values
    that it has returned."""

    def __init__(self, store: Store, project: int) -> None:
        self._store = store
        self._project = project
        self._lock = threading.Lock()
        self._reset(())

    def _reset(self, controls: tuple[ControlSchema, ...]) -> None:
        self._controls = controls
        self._revision = BEFORE_FIRST_REVISION
        self._labels = {control.name: ControlLabels(control) for control in controls}
        self._acceptance = {control.name: AcceptanceCounts(control) for control in controls}
        self._times = AnnotationTimes(controls)
        self._unread = {control.name: UnreadLabels(control.name) for control in controls}
        self._first_annotated: dict[int, str] = {}  # task -> earliest `updated_at` of its annotations
        self._annotation_counts: dict[int, int] = {}  # task -> number of its annotations, without skips
        self._overlaps: Counter[int] = Counter()  # number of annotations -> number of tasks with so many
        self._single: set[int] = set()  # tasks with one annotation, which is no ground truth

    def refresh(self, controls: tuple[ControlSchema, ...]) -> LabelSnapshot:
        """Returns the current labels of at least one control. Reads only the annotations of tasks that have changed
        since the last call; reads all of them in the first call, after a change of the controls, and after annotations
        were removed."""
        with self._lock:
            annotations, drafts = self._store.annotations, self._store.published_drafts
            current, since = annotations.revision(self._project), self._revision
            if controls != self._controls or not current.complete <= since <= current.number:
                self._reset(controls)
                self._update(annotations.of(self._project), drafts.of(self._project))
            elif current.number > since:
                tasks = annotations.changed_since(self._project, since) | drafts.changed_since(self._project, since)
                of_tasks = annotations.of_tasks(self._project, tasks), drafts.of_tasks(self._project, tasks)
                self._update(*of_tasks, tasks)
            self._revision = current.number
            by_control = {name: labels.aggregated for name, labels in self._labels.items()}
            digest = " ".join(digest_text(labels.digest) for labels in self._labels.values())
            return LabelSnapshot(self._revision, by_control, by_control[controls[0].name].annotated_or_skipped, digest)

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

    def latest_annotated(self, n: int) -> list[int]:
        """The n tasks, or fewer, whose first annotation is the latest, without tasks that were only skipped."""
        with self._lock:
            return heapq.nlargest(n, self._annotation_counts, key=lambda task: (self._first_annotated[task], task))

    def draft_use(self, control: str, excluded: Iterable[int]) -> DraftUse:
        """The use of the drafts for a control. Only the number of published tasks counts the tasks with the ids
        `excluded`."""
        with self._lock:
            return self._acceptance[control].without(excluded)

    def time_saved(self, excluded: Iterable[int]) -> TimeSaved:
        """The time that drafts saved, for all controls together, not counting the tasks with the ids `excluded`."""
        with self._lock:
            return self._times.without(excluded)

    def unread(self, control: str) -> list[UnreadGroup]:
        """The labels of a control that cannot be learnt from, or only in part, by reason, the most frequent first."""
        with self._lock:
            return self._unread[control].groups()

    def _update(
        self, annotations: list[Annotation], drafts: list[PublishedDraft], changed: Collection[int] = ()
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
        texts = self._texts_of_parts(sorted(by_task.keys() & draft_of.keys()))
        for task in tasks:
            of_task = by_task.get(task, [])
            for acceptance in self._acceptance.values():
                acceptance.update(task, draft_of.get(task), of_task, texts.get(task, ""))
            self._times.update(task, draft_of.get(task), of_task)
            for unread in self._unread.values():
                unread.update(task, of_task)
            self._update_annotation_counts(task, [annotation for annotation in of_task if not annotation.cancelled])
        for labels in self._labels.values():
            labels.update(by_task, tasks)

    def _texts_of_parts(self, tasks: list[int]) -> dict[int, str]:
        """The texts of tasks, in which the words of parts are counted; {} if no kind of labels has parts."""
        if not any(kind_of(control).part_name for control in self._controls):
            return {}
        return dict(zip(tasks, self._store.tasks.texts(self._project, tasks), strict=True))

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
