"""The audit slice: a small random part of the served tasks, shown without a draft, that tells how good we really are.

Each place of the queue is an audit place with the same probability, whatever stands there, and takes the next task of a
list that was drawn at random from the pool. A drawn task stays on the list, outside acquisition, until it is answered:
were it drawn again each round, uncertain tasks would slip from the slice into the ranked part and flatter the estimate.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Estimate, Floats, Ints, Mask
from ml_backend.evaluation.metrics import ENOUGH, correct, wilson


def places(length: int, share: float, random: np.random.Generator) -> Mask:
    """(length,) bool: which places of the queue belong to the audit slice."""
    return random.random(length) < share


def draw(pending: Ints, available: Ints, n: int, random: np.random.Generator) -> Ints:
    """(up to n,) int64: tasks for n audit places, those already drawn first, then new ones out of `available`."""
    kept = pending[:n]
    fresh = np.setdiff1d(available, pending)
    new = random.choice(fresh, min(n - len(kept), len(fresh)), replace=False)
    return np.asarray(np.concatenate([kept, new]), np.int64)


def accuracy(fit: Floats, targets: Floats, tasks: Ints, audited: Ints, multiple: bool) -> Estimate | None:
    """How often the learner's draft is right, from its cross-validated probabilities `fit` (n, c) of labelled tasks.

    Measured on the answered part of the audit slice if that has `ENOUGH` tasks: they are a random sample. Before that,
    on all labels, which acquisition chose for being hard; the source says which. It is at hand in every round, but a
    strategy that seeks what it knows can flatter it: `watch` has the estimate of `evaluation.prequential`.
    """
    sampled = np.isin(tasks, audited)
    source, answered = "audit slice", int(sampled.sum())
    if answered < ENOUGH:
        sampled = np.ones(len(tasks), np.bool_)
        source = f"all labels, chosen by acquisition, as the audit slice has {answered} of {ENOUGH} answers"
    right = correct(fit[sampled], targets[sampled], multiple)
    return wilson(int(right.sum()), len(right), f"{source}, cross-validated")
