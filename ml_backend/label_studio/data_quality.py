"""Finds irregularities in the annotations of an export. They do not stop a simulation, but may explain its result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from ml_backend.core.arrays import Rows, are_equal
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import texts_at
from ml_backend.core.types import Annotation, listed_tasks
from ml_backend.kinds.lookup import kind_of


def irregularities(
    control: ControlSchema,
    tasks: Sequence[int],
    texts: Sequence[str],
    targets: Rows,
    annotations: Sequence[Annotation],
) -> Iterator[str]:
    """Yields a sentence for each kind of irregularity.

    tasks        ids of the n annotated tasks
    texts        n texts
    targets      (n, ...) the aggregated labels
    annotations  annotations of these and other tasks
    """
    yield from _duplicate_texts(tasks, texts, targets)
    for words, mask in kind_of(control).unusual_targets(control, texts_at(texts), targets).items():
        if mask.any():
            yield f"{words}: {listed_tasks([tasks[row] for row in np.flatnonzero(mask)])}"
    yield from kind_of(control).irregularities(control, tasks, targets, annotations)


def _duplicate_texts(tasks: Sequence[int], texts: Sequence[str], targets: Rows) -> Iterator[str]:
    rows_by_text: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows_by_text[text].append(row)
    duplicates = [rows for rows in rows_by_text.values() if len(rows) > 1]
    conflicting = [tasks[row] for rows in duplicates if not are_equal(targets[rows]) for row in rows]
    if duplicates:
        differing = f"; answered differently: {listed_tasks(conflicting)}" if conflicting else ""
        yield f"texts that occur more than once: {len(duplicates)}, in {sum(map(len, duplicates))} tasks{differing}"
