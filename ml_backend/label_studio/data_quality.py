"""What is odd about the answers in an export: nothing of it stops a simulation, all of it may explain its result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ml_backend.core.types import Annotation, Floats, TaskSchema

SHOWN = 5  # tasks or labels that a message names


def defects(
    schema: TaskSchema, tasks: Sequence[int], texts: Sequence[str], targets: Floats, annotations: Iterable[Annotation]
) -> Iterator[str]:
    """Sentences about n answered tasks: their numbers (n,), texts (n,) and targets (n, c), and who answered what."""
    yield from _copies(tasks, texts, targets)
    known = {*tasks}
    several = {each.task for each in annotations if not each.cancelled and len(each.choices) > 1 and each.task in known}
    several = set() if schema.multiple else several
    tied = (targets == 0.5).any(axis=1) if schema.multiple else (targets > 0).sum(axis=1) > 1
    even = [task for task, split in zip(tasks, tied, strict=True) if split and task not in several]
    if several:
        yield f"several choices where one is allowed: {_tasks(sorted(several))}; either counts as correct"
    if even:
        yield f"annotators evenly split: {_tasks(even)}; either answer counts as correct"
    times = (targets > 0).sum(axis=0)
    for often, said in ((0, "labels that no task has"), (1, "labels that a single task has")):
        if rare := [repr(label) for label, found in zip(schema.labels, times, strict=True) if found == often]:
            yield f"{said}: {some(rare)}"


def some(names: Sequence[Any]) -> str:
    """The first few."""
    shown = ", ".join(map(str, names[:SHOWN]))
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _copies(tasks: Sequence[int], texts: Sequence[str], targets: Floats) -> Iterator[str]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows[text].append(row)
    copied = [each for each in rows.values() if len(each) > 1]
    apart = [each for each in copied if np.ptp(targets[each], axis=0).any()]
    if copied:
        differing = f"; answered differently: {_tasks([tasks[row] for each in apart for row in each])}" if apart else ""
        yield f"texts that occur more than once: {len(copied)}, in {sum(map(len, copied))} tasks{differing}"


def _tasks(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} (task {some(numbers)})"
