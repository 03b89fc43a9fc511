"""The audit sample: a small random part of the served tasks, shown without a draft, for an unbiased accuracy.

Each place of the queue is an audit place with the same probability, whichever task it would hold, and takes the next
task of a list that was drawn at random from the pool. A drawn task stays on the list, outside acquisition, until it is
answered. If it were drawn again each round, acquisition could choose it first: uncertain tasks would leave the sample,
and the estimate would be too high.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints, Mask
from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY, wilson_interval


def draw_audit_places(length: int, share: float, random: np.random.Generator) -> Mask:
    """(length,) bool: which places of the queue are audit places; each is one with probability `share`."""
    return random.random(length) < share


def draw_audit_tasks(pending: Ints, available: Ints, n: int, random: np.random.Generator) -> Ints:
    """(up to n,) int64: tasks for n audit places, the `pending` ones first, then a random draw from `available`."""
    reused = pending[:n]
    undrawn = np.setdiff1d(available, pending)
    drawn = random.choice(undrawn, min(n - len(reused), len(undrawn)), replace=False)
    return np.asarray(np.concatenate([reused, drawn]), np.int64)


def estimate_accuracy(scores: npt.NDArray[np.float64], tasks: Ints, audited: Ints) -> Estimate | None:
    """How often the learner's draft is right, or the mean of other scores in [0, 1], from the scores (n,) of
    cross-validated drafts of labelled tasks.

    The estimate uses the answered tasks of the audit sample if there are `MIN_ANSWERS_FOR_ACCURACY`, because they are
    a random sample. Before that, it uses all labelled tasks, which acquisition chose for being hard; the source of the
    estimate says which. It costs no fit and is available in every round, but it is too high for a strategy that
    chooses tasks like those already labelled: the monitor has the estimate of `evaluation.prequential` for that. None
    without tasks.
    """
    sampled = np.isin(tasks, audited)
    source, answered = EstimateSource.AUDIT_SAMPLE_CROSS_VALIDATED, int(sampled.sum())
    details: dict[str, int] = {}
    if answered < MIN_ANSWERS_FOR_ACCURACY:
        sampled = np.ones(len(tasks), np.bool_)
        source = EstimateSource.ALL_LABELS_CROSS_VALIDATED
        details = {"audited": answered, "minimum": MIN_ANSWERS_FOR_ACCURACY}
    return wilson_interval(float(scores[sampled].sum()), int(sampled.sum()), source, details)
