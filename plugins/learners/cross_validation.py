"""Which rows are held out together, and whether earlier answers need folds of their own."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints, TrainingSet

FOLDS = 5
NEARLY_ALL = 0.95
"""Share of the answers that the earlier knowledge must have for it to be taken for the present one by learners that
take long: fitting the same again, but for a few of hundreds of answers, would double that."""


def split(targets: Floats, multiple: bool, seed: int, folds: int = FOLDS) -> Ints:
    """The fold (n,) of each row: labels are dealt out evenly, by their strongest target; n folds if n < `folds`."""
    strongest = targets.argmax(axis=1)
    if multiple:
        strongest = np.where(targets.max(axis=1) > 0, strongest, -1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(targets)), strongest))
    fold: Ints = np.empty(len(targets), dtype=np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return fold


def is_nearly_the_same(train: TrainingSet) -> bool:
    """Whether the earlier knowledge is to be judged, and nearly all of the present one."""
    earlier = train.earlier_to_judge
    return earlier is not None and bool((earlier == train.targets).all(axis=1).mean() >= NEARLY_ALL)
