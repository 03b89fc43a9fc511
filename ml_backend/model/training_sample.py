"""Samples the labelled tasks that a learner is fitted on if there are more than can be fitted within a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.core.texts import Texts
from ml_backend.pool.pool_snapshot import PoolContents

MAX_FITTED_TASKS = 10_000
"""Maximum number of labelled tasks that a learner is fitted on."""
MAX_POOL_TEXTS = 500
"""Maximum number of random tasks whose texts a learner gets beside the labelled tasks."""
MAX_COMPARED_TEXTS = 3000
"""Maximum number of tasks without a label that learners predict for a query strategy if they read words."""
NEW_SHARE, LABELS_SHARE = 0.25, 0.5
"""Shares of the sample that are reserved for new targets, and for the labels in equal parts."""
SPLITMIX_INCREMENT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """The sampled rows, (m,) int64 ascending, and the number of rows that each of them represents, (m,) float32."""

    rows: Ints
    weights: Floats


def training_sample(tasks: Ints, has_label: Mask, new: Mask) -> TrainingSample | None:
    """The sample to be fitted on; None if it has all rows.

    New rows are sampled first, then an equal number for each label, then other rows at random. The random order depends
    on the tasks alone, so the sample hardly changes from round to round. Rare labels and new rows are over-represented;
    the weights restore the labels' frequencies.

    tasks      (n,) ids
    has_label  (n, c) whether each target has each label; c may be 0
    new        (n,) bool: rows whose target the serving model was not fitted on
    """
    n, c = has_label.shape
    if n <= MAX_FITTED_TASKS:
        return None
    order = np.argsort(_shuffled(tasks), kind="stable")
    sampled = np.zeros(n, np.bool_)
    sampled[order[new[order]][: int(NEW_SHARE * MAX_FITTED_TASKS)]] = True
    rows_per_label = int(LABELS_SHARE * MAX_FITTED_TASKS) // max(c, 1)
    for label in range(c):
        sampled[order[has_label[order, label]][:rows_per_label]] = True
    others = order[~sampled[order]]
    sampled[others[: MAX_FITTED_TASKS - int(sampled.sum())]] = True
    rows = np.flatnonzero(sampled)
    return TrainingSample(rows, _sample_weights(has_label, new, sampled)[rows])


def pool_texts(pool: PoolContents) -> Texts:
    """The texts of random tasks of the pool, at most `MAX_POOL_TEXTS`, that are encoded. They hardly change from round
    to round.

    Tasks with a label are among them, because the others become poorer in what annotators mark (measured on wnut17: the
    learner of spans drafts 5 points of F1 worse if it decides by the others alone).
    """
    tasks = pool.tasks[pool.encoded & ~pool.synthetic]
    return pool.texts(tasks[random_rows(tasks, MAX_POOL_TEXTS)])


def random_rows(tasks: Ints, max_rows: int) -> Ints:
    """At most `max_rows` random rows, ascending; the same rows whenever the tasks are the same."""
    return np.sort(np.argsort(_shuffled(tasks), kind="stable")[:max_rows])


def _sample_weights(has_label: Mask, new: Mask, sampled: Mask) -> Floats:
    """(n,) the number of rows that each sampled row represents: the number of rows in its stratum divided by the number
    of sampled ones. The rows of a stratum have the same rarest label, and all or none of them are new."""
    n, c = has_label.shape
    label_counts = np.append(has_label.sum(axis=0), n + 1)  # the last one stands for rows without a label
    counts_of_row = np.where(np.column_stack([has_label, np.ones(n, np.bool_)]), label_counts, n + 2)
    stratum = 2 * counts_of_row.argmin(axis=1) + new
    n_strata = 2 * (c + 1)
    all_counts = np.bincount(stratum, minlength=n_strata)
    sampled_counts = np.bincount(stratum[sampled], minlength=n_strata)
    return np.asarray((all_counts / np.maximum(sampled_counts, 1))[stratum], np.float32)


def _shuffled(tasks: Ints) -> npt.NDArray[np.uint64]:
    """(n,) a pseudorandom number for each task that depends on its id alone (SplitMix64; Steele, Lea, Flood: "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014)."""
    mixed = tasks.astype(np.uint64) * SPLITMIX_INCREMENT
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
