"""Finds irregularities in the choices of an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import Annotation, listed, listed_tasks


def are_tied(control: ChoicesSchema, targets: Floats) -> Mask:
    """(n,) whether the annotators of a task are evenly split, from targets (n, c)."""
    return np.asarray((targets == 0.5).any(axis=1) if control.multiple else (targets > 0).sum(axis=1) > 1)


def irregularities(
    control: ChoicesSchema, tasks: Sequence[int], targets: Floats, annotations: Sequence[Annotation]
) -> Iterator[str]:
    """Yields a sentence for each kind of irregularity, see `Kind.irregularities`."""
    task_ids = {*tasks}
    with_several = {
        annotation.task
        for annotation in annotations
        if (label := annotation.labels.get(control.name)) and len(label.value) > 1 and annotation.task in task_ids
    }
    with_several = set() if control.multiple else with_several
    is_tied = are_tied(control, targets).tolist()
    split = [task for task, tied in zip(tasks, is_tied, strict=True) if tied and task not in with_several]
    if with_several:
        yield f"several choices where one is allowed: {listed_tasks(sorted(with_several))}; either counts as correct"
    if split:
        yield f"annotators evenly split: {listed_tasks(split)}; either answer counts as correct"
    frequencies = (targets > 0).sum(axis=0)
    for frequency, finding in ((0, "labels that no task has"), (1, "labels that a single task has")):
        if rare := [repr(label) for label, n in zip(control.labels, frequencies, strict=True) if n == frequency]:
            yield f"{finding}: {listed(rare)}"
