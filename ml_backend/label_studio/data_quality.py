"""Finds irregularities in the annotations of an export. They do not stop a simulation, but may explain its result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation

MAX_LISTED = 5  # tasks or labels that a message names


def irregularities(
    control: ControlSchema,
    tasks: Sequence[int],
    texts: Sequence[str],
    targets: Floats,
    annotations: Iterable[Annotation],
) -> Iterator[str]:
    """Yields a sentence for each kind of irregularity.

    tasks        ids of the n annotated tasks
    texts        n texts
    targets      (n, c) the aggregated labels
    annotations  annotations of these and other tasks
    """
    yield from _duplicate_texts(tasks, texts, targets)
    task_ids = {*tasks}
    with_several = {
        annotation.task
        for annotation in annotations
        if (label := annotation.labels.get(control.name)) and len(label.value) > 1 and annotation.task in task_ids
    }
    with_several = set() if control.multiple else with_several
    is_tied = (targets == 0.5).any(axis=1) if control.multiple else (targets > 0).sum(axis=1) > 1
    split = [task for task, tied in zip(tasks, is_tied, strict=True) if tied and task not in with_several]
    if with_several:
        yield f"several choices where one is allowed: {_listed_tasks(sorted(with_several))}; either counts as correct"
    if split:
        yield f"annotators evenly split: {_listed_tasks(split)}; either answer counts as correct"
    frequencies = (targets > 0).sum(axis=0)
    for frequency, finding in ((0, "labels that no task has"), (1, "labels that a single task has")):
        if rare := [repr(label) for label, n in zip(control.labels, frequencies, strict=True) if n == frequency]:
            yield f"{finding}: {listed(rare)}"


def listed(names: Sequence[Any]) -> str:
    """The first `MAX_LISTED` names, and the number of the others."""
    shown = ", ".join(map(str, names[:MAX_LISTED]))
    return shown + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def _duplicate_texts(tasks: Sequence[int], texts: Sequence[str], targets: Floats) -> Iterator[str]:
    rows_by_text: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows_by_text[text].append(row)
    duplicates = [rows for rows in rows_by_text.values() if len(rows) > 1]
    conflicting = [tasks[row] for rows in duplicates if np.ptp(targets[rows], axis=0).any() for row in rows]
    if duplicates:
        differing = f"; answered differently: {_listed_tasks(conflicting)}" if conflicting else ""
        yield f"texts that occur more than once: {len(duplicates)}, in {sum(map(len, duplicates))} tasks{differing}"


def _listed_tasks(tasks: Sequence[int]) -> str:
    return f"{len(tasks)} (task {listed(tasks)})"
