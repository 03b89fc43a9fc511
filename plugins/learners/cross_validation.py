"""Divides training rows into folds, and tells whether the earlier targets need a cross-validation of their own."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, TrainingSet

FOLDS = 5
MIN_UNCHANGED_SHARE = 0.95
"""If at least this share of the targets is unchanged, slow learners use the held-out probabilities of the present
targets for the earlier ones, too: a second cross-validation of nearly the same rows would double the time."""


def split(targets: Floats, multiple: bool, seed: int, folds: int = FOLDS) -> Ints:
    """Returns the fold (n,) of each row; there are n folds if n < `folds`. The rows of each label are spread evenly
    over the folds, where a row counts for the label with its highest target."""
    strongest = targets.argmax(axis=1)
    if multiple:
        strongest = np.where(targets.max(axis=1) > 0, strongest, -1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(targets)), strongest))
    fold: Ints = np.empty(len(targets), dtype=np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return fold


def earlier_targets_nearly_equal(train: TrainingSet) -> bool:
    """Returns whether the earlier targets are to be cross-validated and nearly all of the present targets equal
    them."""
    earlier = train.earlier_to_validate
    return earlier is not None and bool((earlier == train.targets).all(axis=1).mean() >= MIN_UNCHANGED_SHARE)
