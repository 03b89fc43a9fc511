"""How unsure a learner is of each row, as one number in [0, 1]: 1 where it cannot tell, 0 where it is certain.

One choice, for probabilities p over c labels: least confidence (1 - max p) c / (c - 1) (Lewis and Gale, SIGIR 1994);
margin 1 - (best - second best) (Scheffer, Decomain, Wrobel, IDA 2001); entropy of p over log c (Settles, "Active
Learning Literature Survey", 2009).

Several choices are as many yes-or-no questions with probability p each: least confidence is 2 - 2 g with the
geometric mean g of max(p, 1 - p) over the labels, which orders rows by the chance that the drafted set has a mistake
and does so for thousands of labels, too; margin 1 - |2p - 1| of the label nearest to one half (Brinker, "On Active
Learning in Multi-label Classification", 2006); entropy is the mean over the labels of the binary entropy in bits.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints, Pool

TINY = np.float32(1e-12)


def uncertainty(probabilities: Floats, multiple: bool) -> Floats:
    """The margin measure (n,) float32 of (n, c). With a single label to choose from there is nothing unsure: 0."""
    unsure: Floats
    if multiple:
        unsure = 1.0 - np.abs(2.0 * probabilities - 1.0).min(axis=1)
    elif probabilities.shape[1] < 2:
        unsure = np.zeros(len(probabilities), dtype=np.float32)
    else:
        best = np.partition(probabilities, -2, axis=1)[:, -2:]
        unsure = 1.0 - (best[:, 1] - best[:, 0])
    return _unit(unsure)


def unsure_of(pool: Pool, rows: Ints) -> Floats:
    """The margin measure (m,) of some rows of a pool; NaN before there is a learner."""
    if pool.probabilities is None:
        return np.full(len(rows), np.nan, dtype=np.float32)
    return uncertainty(pool.probabilities[rows], pool.multiple)


def least_confidence(probabilities: Floats, multiple: bool) -> Floats:
    """(n,) float32 of (n, c)."""
    c = probabilities.shape[1]
    if multiple:
        surest = np.maximum(probabilities, 1.0 - probabilities)
        return _unit(2.0 - 2.0 * np.exp(np.log(surest).mean(axis=1)))
    if c < 2:
        return np.zeros(len(probabilities), dtype=np.float32)
    best = probabilities[np.arange(len(probabilities)), probabilities.argmax(axis=1)]  # twice as fast as `max`
    return _unit((1.0 - best) * (c / (c - 1)))


def entropy(probabilities: Floats, multiple: bool) -> Floats:
    """(n,) float32 of (n, c)."""
    c = probabilities.shape[1]
    if multiple:
        return _unit(-(_p_log_p(probabilities) + _p_log_p(1.0 - probabilities)).mean(axis=1) / np.float32(np.log(2)))
    if c < 2:
        return np.zeros(len(probabilities), dtype=np.float32)
    return _unit(-_p_log_p(probabilities).sum(axis=1) / np.float32(np.log(c)))


def _p_log_p(p: Floats) -> Floats:
    return np.asarray(p * np.log(np.maximum(p, TINY)))  # a rounded probability may be a little below zero


def _unit(values: Floats) -> Floats:
    return np.clip(values.astype(np.float32, copy=False), 0.0, 1.0)
