"""The reliability of the teacher in a project: its confusion matrix against the annotators, and the labels that follow
from it.

Single choice: the rows of a confusion matrix, P(annotators say j | teacher says i), under a Dirichlet prior (Dawid and
Skene, "Maximum Likelihood Estimation of Observer Error-Rates", JRSS C, 1979, with the annotators as the truth). The
prior assumes that the teacher is as often right on a class as on all classes, and otherwise wrong in any direction, and
that its share of right answers on all classes is `TRUST`. The labels of an unreliable teacher become nearly uniform, a
bias is corrected class by class, and overconfident labels get the probability with which the teacher was right.
Multiple choices: the same for the presence and the absence of each label.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats

Doubles = npt.NDArray[np.float64]

TRUST = 0.8
"""Assumed share of right answers, with the weight of `TRUST_ROWS` answers."""
TRUST_ROWS = 10.0
CLASS_ROWS = 5.0
"""Weight, in answers, of the assumption that a class is like all classes."""


def confusion(probabilities: Floats, targets: Floats, multiple: bool, trust: float = TRUST) -> Doubles:
    """Estimates the annotators' labels given the teacher's labels, from n tasks that both have labelled.

    probabilities  (n, c) by the teacher
    targets        (n, c) by the annotators
    trust          assumed share of right answers before there are any; with 1, the teacher's labels stay as they are
                   until the annotators contradict them

    Returns for a single choice (c, c), whose rows sum to one; for multiple choices (c, 2), the probability of each
    label given its absence and its presence in the teacher's answer.
    """
    n, c = probabilities.shape
    if multiple:
        is_present = probabilities >= 0.5
        right = float((is_present * targets + ~is_present * (1 - targets)).sum())
        trust = (trust * TRUST_ROWS * c + right) / (TRUST_ROWS * c + n * c)
        counts = np.stack([(~is_present).sum(axis=0), is_present.sum(axis=0)], axis=1).astype(np.float64)
        hits = np.stack([(~is_present * targets).sum(axis=0), (is_present * targets).sum(axis=0)], axis=1)
        prior = np.array([1 - trust, trust])
        return np.asarray((hits + CLASS_ROWS * prior) / (counts + CLASS_ROWS))
    one_hot = np.zeros((n, c))
    one_hot[np.arange(n), probabilities.argmax(axis=1)] = 1
    counts = one_hot.T @ targets
    trust = (trust * TRUST_ROWS + float(np.trace(counts))) / (TRUST_ROWS + n)
    prior = np.full((c, c), (1 - trust) / max(c - 1, 1))
    np.fill_diagonal(prior, trust if c > 1 else 1.0)
    posterior = counts + CLASS_ROWS * prior
    return np.asarray(posterior / posterior.sum(axis=1, keepdims=True))


def corrected(probabilities: Floats, matrix: Doubles, multiple: bool) -> Floats:
    """(n, c) the expected labels of the annotators, from the teacher's `probabilities` (n, c) and its `confusion`."""
    if multiple:
        return np.asarray(probabilities * matrix[:, 1] + (1 - probabilities) * matrix[:, 0], np.float32)
    return np.asarray(probabilities @ matrix, np.float32)
