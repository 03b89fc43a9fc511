"""Labels that imply others: a label of a hierarchy holds only if all of its ancestors do.

A label that is decided for brings its ancestors with it. The top-down rule of hierarchical classification (Silla and
Freitas, Data Mining and Knowledge Discovery 22, 2011) drops the label instead if an ancestor was not decided for. With
few annotations, the specific label is the more reliable of the two: see benchmarks/2026-11-30-structured.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.schema import ChoicesSchema


def consistent_decisions(chosen: Mask, probabilities: Floats, control: ChoicesSchema) -> Mask:
    """(n, c) bool: the decisions `chosen` (n, c) with the ancestors of each chosen label.

    If a row has more than `max_usages` labels without a chosen child, the most probable of these are kept with their
    ancestors. `probabilities`: (n, c)
    """
    kept = chosen.copy()
    for label, parent in reversed([*enumerate(control.parents)]):
        if parent >= 0:
            kept[:, parent] |= kept[:, label]  # a parent comes before its children
    if not control.max_usages:
        return kept
    deepest = kept.copy()
    for label, parent in enumerate(control.parents):
        if parent >= 0:
            deepest[:, parent] &= ~kept[:, label]
    for row in np.flatnonzero(deepest.sum(axis=1) > control.max_usages):
        labels = np.flatnonzero(deepest[row])
        most_probable = labels[np.argsort(-probabilities[row, labels], kind="stable")][: control.max_usages]
        kept[row] = False
        for label in most_probable.tolist():
            kept[row, [label, *_ancestor_rows(control)[label]]] = True
    return kept


def ancestors_of(label: str, control: ChoicesSchema) -> tuple[str, ...]:
    """The ancestors of a label, the root first; empty for a root, and for what is no label."""
    return _ancestors(control).get(label, ()) if control.parents else ()


def with_ancestors(labels: Iterable[str], control: ChoicesSchema) -> list[str]:
    """The labels, each after its ancestors, without duplicates."""
    return [*dict.fromkeys(name for label in labels for name in (*ancestors_of(label, control), label))]


def deepest_labels(labels: Sequence[str], control: ChoicesSchema) -> list[str]:
    """The labels that are no ancestors of others of them."""
    implied = {ancestor for label in labels for ancestor in ancestors_of(label, control)}
    return [label for label in labels if label not in implied]


@lru_cache(maxsize=256)
def _ancestor_rows(control: ChoicesSchema) -> tuple[tuple[int, ...], ...]:
    """For each label the indices of its ancestors, the root first."""
    rows: list[tuple[int, ...]] = []
    for parent in control.parents or [-1] * len(control.labels):
        rows.append((*rows[parent], parent) if parent >= 0 else ())
    return tuple(rows)


@lru_cache(maxsize=256)
def _ancestors(control: ChoicesSchema) -> dict[str, tuple[str, ...]]:
    return {
        label: tuple(control.labels[row] for row in rows)
        for label, rows in zip(control.labels, _ancestor_rows(control), strict=True)
    }
