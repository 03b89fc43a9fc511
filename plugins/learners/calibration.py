"""Logits to probabilities, and the temperature that makes them honest, in numpy alone.

Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

import math

import numpy as np

from ml_backend.domain import Floats

PRIOR_ROWS = 5.0
"""The strength of the belief that the temperature is 1: the penalty of a temperature of e, in nats, is half of this."""
WIDEST = 3.0
STEPS = 24  # golden sections: the logarithm of the temperature to 1e-4


def probabilities(logits: Floats, multiple: bool) -> Floats:
    """(n, c) softmax or sigmoid, computed in place of `logits` where it can be."""
    if multiple:
        np.clip(logits, -60.0, 60.0, out=logits)
        np.negative(logits, out=logits)
        np.exp(logits, out=logits)
        logits += 1.0
        return np.reciprocal(logits, out=logits)
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def temperature(logits: Floats, targets: Floats, weights: Floats, multiple: bool) -> float:
    """The number to divide `logits` (n, c) by, of least cross-entropy with `targets`, drawn to 1 when rows are few.

    The cross-entropy is convex in 1/T and the prior is centred on T = 1, so one golden-section search finds it.
    """
    used = weights > 0
    z, t, w = logits[used].astype(np.float64), targets[used].astype(np.float64), weights[used].astype(np.float64)

    def cost(log_temperature: float) -> float:
        scaled = z / math.exp(log_temperature)
        if multiple:
            rows = np.logaddexp(0.0, scaled).sum(1) - (t * scaled).sum(1)
        else:
            top = scaled.max(axis=1, keepdims=True)
            rows = t.sum(1) * (top[:, 0] + np.log(np.exp(scaled - top).sum(1))) - (t * scaled).sum(1)
        return float(w @ rows) + PRIOR_ROWS * log_temperature**2 / 2

    low, high, section = -WIDEST, WIDEST, (math.sqrt(5.0) - 1) / 2
    left, right = high - section * (high - low), low + section * (high - low)
    at_left, at_right = cost(left), cost(right)
    for _ in range(STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - section * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + section * (high - low)
            at_right = cost(right)
    return math.exp((low + high) / 2)
