"""Packs targets for an artifact without loss, to less than half their size."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Tensors

DENSE, CLASSES, SOFT, HALVES = "snapshot.targets", "snapshot.classes", "snapshot.soft", "snapshot.halves"
NO_CLASS = -1


def pack(targets: Floats, multiple: bool) -> Tensors:
    """Packs targets (n, c) without loss.

    For a single choice: the class of each row, and the soft rows. For several choices: twice the targets as integers if
    all targets are 0, 0.5 or 1, else the targets themselves.
    """
    if multiple:
        halves = (2 * targets).astype(np.uint8)
        return {HALVES: halves} if np.array_equal(halves * np.float32(0.5), targets) else {DENSE: targets}
    classes = targets.argmax(axis=1)
    is_hard = (np.count_nonzero(targets, axis=1) == 1) & (targets[np.arange(len(targets)), classes] == 1)
    return {CLASSES: np.where(is_hard, classes, NO_CLASS).astype(np.int32), SOFT: targets[~is_hard]}


def unpack(tensors: Tensors, columns: int) -> Floats:
    """Removes the targets (n, `columns`) from the tensors of an artifact and returns them; older artifacts have them
    unpacked."""
    if DENSE in tensors:
        return tensors.pop(DENSE).astype(np.float32)
    if HALVES in tensors:
        return tensors.pop(HALVES).astype(np.float32) * np.float32(0.5)
    classes, soft = tensors.pop(CLASSES), tensors.pop(SOFT)
    targets = np.zeros((len(classes), columns), np.float32)
    is_hard = classes != NO_CLASS
    targets[np.flatnonzero(is_hard), classes[is_hard].astype(np.int64)] = 1
    targets[~is_hard] = soft
    return targets
