"""Targets and held-out probabilities as an artifact holds them: in less than half their size, targets exactly."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Tensors

DENSE, CLASSES, SOFT, HALVES = "snapshot.targets", "snapshot.classes", "snapshot.soft", "snapshot.halves"
NO_CLASS = -1


def pack(targets: Floats, multiple: bool) -> Tensors:
    """The targets (n, c), none of them changed. For one choice the class of each row, and the rows that are shared
    among several; for several choices twice their value, as votes are 0, a half or 1; else as they are."""
    if multiple:
        halves = (2 * targets).astype(np.uint8)
        return {HALVES: halves} if np.array_equal(halves * np.float32(0.5), targets) else {DENSE: targets}
    classes = targets.argmax(axis=1)
    hard = (np.count_nonzero(targets, axis=1) == 1) & (targets[np.arange(len(targets)), classes] == 1)
    return {CLASSES: np.where(hard, classes, NO_CLASS).astype(np.int32), SOFT: targets[~hard]}


def unpack(tensors: Tensors, columns: int) -> Floats:
    """Takes the targets (n, `columns`) out of an artifact's tensors, also of one from before they were packed."""
    if DENSE in tensors:
        return tensors.pop(DENSE).astype(np.float32)
    if HALVES in tensors:
        return tensors.pop(HALVES).astype(np.float32) * np.float32(0.5)
    classes, soft = tensors.pop(CLASSES), tensors.pop(SOFT)
    targets = np.zeros((len(classes), columns), np.float32)
    hard = classes != NO_CLASS
    targets[np.flatnonzero(hard), classes[hard].astype(np.int64)] = 1
    targets[~hard] = soft
    return targets


def rounded(probabilities: Floats) -> Floats:
    """Probabilities as they come back from an artifact, which has half as many bits for them; the class that is the
    most probable one, or is held to be there from one half up, stays the same where rounding makes no tie."""
    return probabilities.astype(np.float16).astype(np.float32)
