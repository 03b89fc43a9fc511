"""What the teacher's word is worth here: its answers against the annotators', class by class, and what follows for it.

One choice: the rows of a confusion matrix, P(annotators say j | teacher says i), under a Dirichlet prior (Dawid and
Skene, "Maximum Likelihood Estimation of Observer Error-Rates", JRSS C, 1979, with the annotators as the truth). The
prior is that the teacher is as often right on this class as on all, and otherwise wrong in any direction; that on all
it is right `TRUST` of the time. So a bad teacher fades out, a biased one is corrected class by class, and one that
always says 1.0 is as sure as it was right. Several choices: for each label the same with its presence and its absence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import Floats

Doubles = npt.NDArray[np.float64]

TRUST = 0.8
"""Believed share of right answers, as much as `TRUST_ROWS` answers say."""
TRUST_ROWS = 10.0
CLASS_ROWS = 5.0
"""How many answers of a class weigh as much as the belief that the class is like all."""


def confusion(said: Floats, targets: Floats, multiple: bool, trust: float = TRUST) -> Doubles:
    """What the annotators say given what the teacher says, from n tasks that both have answered.

    trust  the believed share of right answers before there is any; 1 to leave what it says as it is until then
    said (n, c) the teacher's shares; targets (n, c) the annotators'. For one choice (c, c), rows sum to one; for
    several (c, 2): the probability of each label given its absence and its presence in the teacher's answer.
    """
    n, c = said.shape
    if multiple:
        there = said >= 0.5
        right = float((there * targets + ~there * (1 - targets)).sum())
        trust = (trust * TRUST_ROWS * c + right) / (TRUST_ROWS * c + n * c)
        counts = np.stack([(~there).sum(axis=0), there.sum(axis=0)], axis=1).astype(np.float64)
        hits = np.stack([(~there * targets).sum(axis=0), (there * targets).sum(axis=0)], axis=1)
        prior = np.array([1 - trust, trust])
        return np.asarray((hits + CLASS_ROWS * prior) / (counts + CLASS_ROWS))
    voted = np.zeros((n, c))
    voted[np.arange(n), said.argmax(axis=1)] = 1
    counts = voted.T @ targets
    trust = (trust * TRUST_ROWS + float(np.trace(counts))) / (TRUST_ROWS + n)
    prior = np.full((c, c), (1 - trust) / max(c - 1, 1))
    np.fill_diagonal(prior, trust if c > 1 else 1.0)
    found = counts + CLASS_ROWS * prior
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def corrected(said: Floats, given: Doubles, multiple: bool) -> Floats:
    """(n, c) what the annotators would say, from the teacher's shares and its `confusion`."""
    if multiple:
        return np.asarray(said * given[:, 1] + (1 - said) * given[:, 0], np.float32)
    return np.asarray(said @ given, np.float32)
