"""The labels of a project, aggregated task by task as annotations change: what one more answer costs does not depend
on how many there are. What is kept equals `consensus` of all annotations, bit for bit.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.types import Annotation, Floats, Ints, Mask, TaskSchema
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels, as_digest, mark_of, vote
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.draft_acceptance import DraftAcceptance, TimeSaved
from ml_backend.storage import PublishedDraft, Store

BEGINNING = -1  # before every revision


@dataclass(frozen=True, slots=True)
class LabelSnapshot:
    """The labels of a project up to a revision of its annotations; `digest`: the same for the same labels."""

    revision: int
    answers: AggregatedLabels
    digest: str


class LabelAggregator:
    """Follows one project. Safe to use from several threads; what it returned stays as it was."""

    def __init__(self, store: Store, project: int) -> None:
        self._store = store
        self._project = project
        self._lock = threading.Lock()
        self._kind: tuple[object, ...] = ()
        self._begin(())

    def _begin(self, kind: tuple[object, ...], columns: int = 0) -> None:
        self._kind = kind
        self._revision = BEGINNING
        none: Ints = np.empty(0, np.int64)
        self._answers = AggregatedLabels(none, np.empty((0, columns), np.float32), none)
        self._mark = 0  # the digest of the answers
        self._first: dict[int, str] = {}  # task -> when its first standing answer was last changed
        self._times: dict[int, int] = {}  # task -> how many answers it has
        self._overlaps: Counter[int] = Counter()  # how many tasks have so many
        self._sole: set[int] = set()  # tasks with one answer, which is no ground truth
        self._reception = AcceptanceCounts()

    def refresh(self, schema: TaskSchema) -> LabelSnapshot:
        """The labels of today. Reads the annotations of tasks that have changed since the last call and no others; all
        of them the first time, when the schema changed, and when annotations have vanished."""
        with self._lock:
            labels, shown = self._store.labels, self._store.shown
            now, kind = labels.revision(self._project), (schema.labels, schema.multiple)
            since = self._revision
            if kind != self._kind or not now.complete <= since <= now.number:
                self._begin(kind, len(schema.labels))
                self._update(schema, labels.of(self._project), shown.of(self._project))
            elif now.number > since:
                tasks = labels.changed_since(self._project, since) | shown.changed_since(self._project, since)
                again = labels.of_tasks(self._project, tasks), shown.of_tasks(self._project, tasks)
                self._update(schema, *again, tasks)
            self._revision = now.number
            return LabelSnapshot(self._revision, self._answers, as_digest(self._mark))

    @property
    def overlaps(self) -> dict[int, int]:
        """How many tasks have how many answers, from 1 on; skips are none."""
        with self._lock:
            return {times: tasks for times, tasks in self._overlaps.items() if times and tasks}

    def first_answered(self, tasks: Ints) -> list[str]:
        """Of each of some tasks, the earliest `updated_at` of its answers; "" without any."""
        with self._lock:
            return [self._first.get(task, "") for task in tasks.tolist()]

    def has_sole_answer(self, tasks: Ints) -> Mask:
        """(n,) bool: which of some tasks have exactly one answer, and that no ground truth."""
        with self._lock:
            return np.array([task in self._sole for task in tasks.tolist()], np.bool_)

    def reception(self, apart: Iterable[int]) -> tuple[int, dict[str, DraftAcceptance], TimeSaved]:
        """How many tasks were shown; and of the answered ones, but for the tasks `apart`, what became of the drafts and
        which time they saved."""
        with self._lock:
            return self._reception.shown, *self._reception.without(apart)

    def _update(
        self,
        schema: TaskSchema,
        annotations: list[Annotation],
        shown: list[PublishedDraft],
        changed: Collection[int] = (),
    ) -> None:
        """Takes in all annotations and drafts of some tasks: those that have any now, and those that have `changed`."""
        groups: dict[int, list[Annotation]] = defaultdict(list)
        for annotation in annotations:
            groups[annotation.task].append(annotation)
        drafts = {each.task: each for each in shown}
        tasks = sorted({*groups, *drafts, *changed})
        for task in tasks:
            self._reception.update(task, drafts.get(task), groups.get(task, ()))
            self._note(task, [each for each in groups.get(task, ()) if not each.cancelled])

        targets = _votes(schema, groups)
        labelled = sorted(targets)
        votes = np.array([targets[task] for task in labelled], np.float32).reshape(-1, len(schema.labels))
        new = AggregatedLabels(np.array(labelled, np.int64), votes, np.array(sorted(groups), np.int64))
        old = self._answers
        rows, touched = _places(old.tasks, tasks), _places(old.touched, tasks)
        self._mark ^= mark_of(AggregatedLabels(old.tasks[rows], old.targets[rows], old.touched[touched])) ^ mark_of(new)
        self._answers = AggregatedLabels(
            _replaced(old.tasks, old.tasks, rows, new.tasks, new.tasks),
            _replaced(old.tasks, old.targets, rows, new.tasks, new.targets),
            _replaced(old.touched, old.touched, touched, new.touched, new.touched),
        )

    def _note(self, task: int, answers: list[Annotation]) -> None:
        """What is kept of the answers of a task beside its target."""
        self._overlaps[self._times.pop(task, 0)] -= 1
        self._overlaps[len(answers)] += 1
        if answers:
            self._times[task] = len(answers)
            self._first[task] = min(answer.updated_at for answer in answers)
        else:
            self._first.pop(task, None)
        is_sole = len(answers) == 1 and not answers[0].ground_truth
        (self._sole.add if is_sole else self._sole.discard)(task)


class LabelAggregators:
    """The aggregators of the projects that a worker serves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._by_project: dict[int, LabelAggregator] = {}

    def of(self, project: int) -> LabelAggregator:
        with self._lock:
            if project not in self._by_project:
                self._by_project[project] = LabelAggregator(self._store, project)
            return self._by_project[project]

    def keep(self, projects: Collection[int]) -> None:
        """Lets go of all other projects: they are read again if they are asked for."""
        with self._lock:
            self._by_project = {number: kept for number, kept in self._by_project.items() if number in projects}


def _votes(schema: TaskSchema, groups: dict[int, list[Annotation]]) -> dict[int, Floats]:
    """The target of each task that has one. Of the many tasks with one annotation, equal ones are counted once."""
    alone: dict[tuple[object, ...], Floats | None] = {}
    targets: dict[int, Floats] = {}
    for task, group in groups.items():
        if len(group) == 1:
            key = (group[0].cancelled, group[0].choices, group[0].unread)
            target = alone[key] if key in alone else alone.setdefault(key, vote(schema, group))
        else:
            target = vote(schema, group)
        if target is not None:
            targets[task] = target
    return targets


def _places(ids: Ints, some: Sequence[int]) -> Ints:
    """Where those of `some`, ascending, that are among `ids` (n,), ascending, stand there."""
    at = np.searchsorted(ids, np.array(some, np.int64))
    there = at < len(ids)
    there[there] = ids[at[there]] == np.array(some, np.int64)[there]
    return np.asarray(at[there])


def _replaced(ids: Ints, values: Any, gone: Ints, new_ids: Ints, new_values: Any) -> Any:
    """The values (n, ...) of `ids`, ascending, without the rows `gone`, and those of `new_ids` in their order: one copy
    as a rule, nothing is sorted."""
    if np.array_equal(ids[gone], new_ids):
        if np.array_equal(values[gone], new_values):
            return values
        values = values.copy()
        values[gone] = new_values
        return values
    if len(gone):
        ids, values = np.delete(ids, gone), np.delete(values, gone, axis=0)
    return np.insert(values, np.searchsorted(ids, new_ids), new_values, axis=0)
