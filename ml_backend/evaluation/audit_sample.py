"""The audit sample: a small random part of the served tasks, shown without a draft, for an unbiased accuracy.

Each place of the queue is an audit place with the same probability, whichever task it would hold, and takes the next
task of a list that was drawn at random from the pool. A drawn task stays on the list, outside acquisition, until it is
answered. If it were drawn again each round, acquisition could choose it first: uncertain tasks would leave the sample,
and the estimate would be too high.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Ints, Mask
from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY, Doubles, mean_score


def draw_audit_places(length: int, share: float, random: np.random.Generator) -> Mask:
    """(length,) bool: which places of the queue are audit places; each is one with probability `share`."""
    return random.random(length) < share


def draw_audit_tasks(pending: Ints, available: Ints, n: int, random: np.random.Generator) -> Ints:
    """(up to n,) int64: tasks for n audit places, the `pending` ones first, then a random draw from `available`."""
    reused = pending[:n]
    undrawn = np.setdiff1d(available, pending)
    drawn = random.choice(undrawn, min(n - len(reused), len(undrawn)), replace=False)
    return np.asarray(np.concatenate([reused, drawn]), np.int64)


def estimate_accuracy(scores: Doubles, tasks: Ints, audited: Ints, weights: Doubles | None = None) -> Estimate | None:
    """How often the learner's draft is right, or the mean of other scores in [0, 1], from the scores (n,) of
    cross-validated drafts of labelled tasks, with weights (n,) or None for equal ones. Uses the rows of `judged_rows`.

    It costs no fit and is available in every round, but it is too high for a strategy that chooses tasks like those
    already labelled: the monitor has the estimate of `evaluation.prequential` for that. None without tasks.
    """
    is_judged, source, details = judged_rows(np.isin(tasks, audited))
    return mean_score(scores[is_judged], None if weights is None else weights[is_judged], source, details)


def judged_rows(is_audited: Mask) -> tuple[Mask, EstimateSource, dict[str, int]]:
    """The labelled tasks (n,) that an estimate uses, its source and the details of the source.

    These are the answered tasks of the audit sample, `is_audited` (n,), if there are `MIN_ANSWERS_FOR_ACCURACY`,
    because they are a random sample. Before that, these are all labelled tasks, which acquisition chose for being hard.
    """
    answered = int(is_audited.sum())
    if answered >= MIN_ANSWERS_FOR_ACCURACY:
        return is_audited, EstimateSource.AUDIT_SAMPLE_CROSS_VALIDATED, {}
    details = {"audited": answered, "minimum": MIN_ANSWERS_FOR_ACCURACY}
    return np.ones_like(is_audited), EstimateSource.ALL_LABELS_CROSS_VALIDATED, details
