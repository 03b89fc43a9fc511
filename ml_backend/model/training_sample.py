"""Which answers a learner is fitted on when there are more of them than it can be fitted on within a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import Floats, Ints, Mask

MOST_FITTED = 10_000
"""Answers up to which a learner is fitted on all of them; of more, on so many."""
FOR_NEW, FOR_LABELS = 0.25, 0.5
"""Shares of the sample that are kept for new answers, and for the labels in equal parts."""
MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """The rows to be fitted on, (m,) int64 ascending, and for how many answers each of them stands, (m,) float32."""

    rows: Ints
    weights: Floats


def training_sample(tasks: Ints, targets: Floats, new: Mask) -> TrainingSample | None:
    """The answers to be fitted on; None for all of them.

    New answers come first, then the same number for each label, then a random part, always the same one of the same
    tasks: from round to round the sample hardly changes. Those that are rare, or new, are in it more often than among
    all answers: the weights undo that, so that labels are as frequent as they are.

    tasks (n,); targets (n, c); new (n,) bool: what the learner before did not know
    """
    n, c = targets.shape
    if n <= MOST_FITTED:
        return None
    order = np.argsort(_shuffled(tasks), kind="stable")
    taken = np.zeros(n, np.bool_)
    taken[order[new[order]][: int(FOR_NEW * MOST_FITTED)]] = True
    each = int(FOR_LABELS * MOST_FITTED) // c
    holds = targets[order] > 0
    for label in range(c):
        taken[order[holds[:, label]][:each]] = True
    others = order[~taken[order]]
    taken[others[: MOST_FITTED - int(taken.sum())]] = True
    rows = np.flatnonzero(taken)
    return TrainingSample(rows, _stands_for(targets, new, taken)[rows])


def random_rows(tasks: Ints, most: int) -> Ints:
    """At most so many rows, ascending, drawn at random: always the same ones of the same tasks."""
    return np.sort(np.argsort(_shuffled(tasks), kind="stable")[:most])


def _stands_for(targets: Floats, new: Mask, taken: Mask) -> Floats:
    """(n,) how many answers there are for one in the sample, by the rarest label of each and whether it is new."""
    frequency = (targets > 0).sum(axis=0)
    rarest = np.where(targets > 0, frequency, len(targets) + 1).argmin(axis=1)
    stratum = 2 * np.where((targets > 0).any(axis=1), rarest, targets.shape[1]) + new
    there, sampled = (np.bincount(some, minlength=2 * (targets.shape[1] + 1)) for some in (stratum, stratum[taken]))
    return np.asarray((there / np.maximum(sampled, 1))[stratum], np.float32)


def _shuffled(tasks: Ints) -> npt.NDArray[np.uint64]:
    """A number for each task that looks random and depends on nothing else (Steele, Lea, Flood: "Fast Splittable
    Pseudorandom Number Generators", OOPSLA 2014)."""
    mixed = tasks.astype(np.uint64) * MIX
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
