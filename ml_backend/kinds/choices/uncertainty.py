"""Measures of a learner's uncertainty on each row, as one number in [0, 1]: 1 where all labels are as likely, 0 where
one is certain.

One choice, for probabilities p over c labels: least confidence (1 - max p) c / (c - 1) (Lewis and Gale, SIGIR 1994);
margin 1 - (best - second best) (Scheffer, Decomain, Wrobel, IDA 2001); entropy of p over log c (Settles, "Active
Learning Literature Survey", 2009).

Several choices are as many yes-or-no questions with probability p each: least confidence is 2 - 2 g with the geometric
mean g of max(p, 1 - p) over the labels, which orders rows by the probability that the draft has a mistake, also with
thousands of labels; margin 1 - |2p - 1| of the label nearest to one half (Brinker, "On Active Learning in Multi-label
Classification", 2006); entropy is the mean over the labels of the binary entropy in bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ml_backend.core.arrays import Floats, UncertaintyMeasure

MIN_PROBABILITY = np.float32(1e-12)


def margin_uncertainty(probabilities: Floats, multiple: bool) -> Floats:
    """Returns the margin measure (n,) float32 of probabilities (n, c); 0 if there is only one label to choose from."""
    uncertainties: Floats
    if multiple:
        uncertainties = 1.0 - np.abs(2.0 * probabilities - 1.0).min(axis=1)
    elif probabilities.shape[1] < 2:
        uncertainties = np.zeros(len(probabilities), dtype=np.float32)
    else:
        best = np.partition(probabilities, -2, axis=1)[:, -2:]
        uncertainties = 1.0 - (best[:, 1] - best[:, 0])
    return _clipped(uncertainties)


def least_confidence(probabilities: Floats, multiple: bool) -> Floats:
    """Returns the least-confidence measure (n,) float32 of probabilities (n, c)."""
    c = probabilities.shape[1]
    if multiple:
        confidences = np.maximum(probabilities, 1.0 - probabilities)
        return _clipped(2.0 - 2.0 * np.exp(np.log(confidences).mean(axis=1)))
    if c < 2:
        return np.zeros(len(probabilities), dtype=np.float32)
    best = probabilities[np.arange(len(probabilities)), probabilities.argmax(axis=1)]  # twice as fast as `max`
    return _clipped((1.0 - best) * (c / (c - 1)))


def entropy(probabilities: Floats, multiple: bool) -> Floats:
    """Returns the entropy measure (n,) float32 of probabilities (n, c)."""
    c = probabilities.shape[1]
    if multiple:
        return _clipped(-(_p_log_p(probabilities) + _p_log_p(1.0 - probabilities)).mean(axis=1) / np.float32(np.log(2)))
    if c < 2:
        return np.zeros(len(probabilities), dtype=np.float32)
    return _clipped(-_p_log_p(probabilities).sum(axis=1) / np.float32(np.log(c)))


MEASURES: Mapping[UncertaintyMeasure, Callable[[Floats, bool], Floats]] = {
    "margin": margin_uncertainty,
    "least confidence": least_confidence,
    "entropy": entropy,
}


def _p_log_p(p: Floats) -> Floats:
    return np.asarray(p * np.log(np.maximum(p, MIN_PROBABILITY)))  # a rounded probability may be slightly negative


def _clipped(values: Floats) -> Floats:
    return np.clip(values.astype(np.float32, copy=False), 0.0, 1.0)
