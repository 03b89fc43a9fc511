"""The aggregated labels of one control, which are updated task by task as annotations change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.aggregation import AggregatedLabels, aggregate_task, digest_value
from ml_backend.kinds.lookup import kind_of


class ControlLabels:
    """The labels of one control.

    aggregated  the aggregated labels, a new value after each change
    digest      the `digest_value` of `aggregated`
    """

    def __init__(self, control: ControlSchema) -> None:
        self._control = control
        no_tasks: Ints = np.empty(0, np.int64)
        self.aggregated = AggregatedLabels(no_tasks, kind_of(control).as_targets(control, []), no_tasks)
        self.digest = 0

    def update(self, by_task: Mapping[int, list[Annotation]], tasks: Sequence[int]) -> None:
        """Replaces the labels of some `tasks`, ascending. `by_task`: all annotations that they have now"""
        target_of = _aggregate_tasks(self._control, by_task)
        labelled = sorted(target_of)
        targets = kind_of(self._control).as_targets(self._control, [target_of[task] for task in labelled])
        new = AggregatedLabels(np.array(labelled, np.int64), targets, np.array(sorted(by_task), np.int64))
        old = self.aggregated
        rows, touched = _rows_of(old.tasks, tasks), _rows_of(old.annotated_or_skipped, tasks)
        replaced = AggregatedLabels(old.tasks[rows], old.targets[rows], old.annotated_or_skipped[touched])
        self.digest ^= digest_value(replaced) ^ digest_value(new)
        self.aggregated = AggregatedLabels(
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


def _aggregate_tasks(control: ControlSchema, by_task: Mapping[int, list[Annotation]]) -> dict[int, Any]:
    """The target of each task that has one. Most tasks have one annotation, and equal labels are aggregated only
    once."""
    target_of_single: dict[tuple[object, ...], Any] = {}
    targets: dict[int, Any] = {}
    for task, of_task in by_task.items():
        if len(of_task) == 1:
            label = of_task[0].labels.get(control.name)
            key = (of_task[0].cancelled, label)
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
