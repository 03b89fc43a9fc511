"""Turns logits into probabilities, and fits the slope and offsets that calibrate them, in numpy alone.

Class weighting shifts the probabilities towards rare labels. No slope reverts that shift; an offset for each label
does. Several labels: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), a slope and an offset for each.
One choice: one slope for all labels and an offset for each (the bias-corrected temperature of Alexandari, Kundaje,
Shrikumar: "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Tensors

Doubles = npt.NDArray[np.float64]

PRIOR_ROWS = 5.0
"""Strength of the prior that the logits are calibrated already: half of this, in nats, is the penalty of a slope of e
or 1/e, and of an offset of 1. The larger it is, the more of the shift towards rare labels remains. Chosen on
development data: with 2, probabilities were poorly calibrated at 25 labels; removing the whole shift lost accuracy and
rare labels."""
CHUNK_ROWS = 8192
MIN_PROBABILITY = 1e-6
MAX_LOG_SLOPE = 3.0
MAX_STEPS = 20
STEP_TOLERANCE = 1e-3


def probabilities(logits: Floats, multiple: bool) -> Floats:
    """Returns the softmax or sigmoid (n, c), computed in place of `logits` where possible."""
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


def cross_entropy(probabilities: Floats, targets: Floats, multiple: bool) -> Floats:
    """Returns the cross-entropy (n,) of probabilities (n, c), in nats."""
    p = np.clip(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    loss = targets * np.log(p) + ((1 - targets) * np.log(1 - p) if multiple else 0)
    return np.asarray(-loss.sum(axis=1))


def linear_probabilities(tensors: Tensors, vectors: Floats) -> Floats:
    """Returns the probabilities (n, c) of a linear head: weight (d, c), bias (c,), multiple (1,) bool. Works in chunks:
    vectors (n, d) may be float16 or mapped from a file."""
    weight, bias = (np.asarray(tensors[name], np.float32) for name in ("weight", "bias"))
    multiple = bool(tensors["multiple"][0])
    out: Floats = np.empty((len(vectors), len(bias)), np.float32)
    for start in range(0, len(vectors), CHUNK_ROWS):
        chunk = np.asarray(vectors[start : start + CHUNK_ROWS], np.float32)
        out[start : start + CHUNK_ROWS] = probabilities(chunk @ weight + bias, multiple)
    return out


def fit_calibration(logits: Floats, targets: Floats, weights: Floats, multiple: bool) -> tuple[Floats, Floats]:
    """Returns the slope, (c,) or for one choice (1,), and the offset (c,) that minimise the cross-entropy of slope *
    logits + offset with `targets` (n, c), weighted by `weights` (n,). If there are few rows, a prior draws the slope to
    1 and the offset to 0.

    Several labels are solved side by side as binary problems, the label against its absence. The method is Fisher
    scoring on the logarithm of the slope, which keeps the slope positive; a step that does not lower the cost is
    halved.
    """
    is_used = weights > 0
    # the rows are last in memory, which is far faster
    z, t = (array[is_used].T.astype(np.float64, order="C") for array in (logits, targets))
    z, t = (np.stack([z, -z], 1) / 2, np.stack([t, 1 - t], 1)) if multiple else (z[None], t[None])
    t = t * weights[is_used]
    mass = t.sum(1, keepdims=True)
    outcomes = z.shape[1]

    def cost_and_step(parameters: Doubles) -> tuple[Doubles, Doubles]:
        """Returns the cost of each problem (problems,), and the next step (problems, 1 + outcomes) from the
        parameters."""
        scaled = np.exp(parameters[:, :1, None]) * z
        x = scaled + parameters[:, 1:, None]
        x -= x.max(1, keepdims=True)
        p = np.exp(x)
        partition = p.sum(1, keepdims=True)
        p /= partition
        cost = (
            (mass * np.log(partition)).sum((1, 2)) - (t * x).sum((1, 2)) + PRIOR_ROWS / 2 * np.square(parameters).sum(1)
        )

        weighted = mass * p
        residual = weighted - t
        gradient = np.column_stack([(residual * scaled).sum((1, 2)), residual.sum(2)]) + PRIOR_ROWS * parameters
        centred = weighted * (scaled - (p * scaled).sum(1, keepdims=True))
        curvature = np.zeros((len(z), 1 + outcomes, 1 + outcomes))
        curvature[:, 0, 0] = (centred * scaled).sum((1, 2))
        curvature[:, 0, 1:] = curvature[:, 1:, 0] = centred.sum(2)
        curvature[:, 1:, 1:] = weighted.sum(2)[:, None] * np.eye(outcomes) - weighted @ p.transpose(0, 2, 1)
        curvature += PRIOR_ROWS * np.eye(1 + outcomes)
        return cost, np.asarray(np.linalg.solve(curvature, -gradient[..., None])[..., 0], dtype=np.float64)

    parameters: Doubles = np.zeros((len(z), 1 + outcomes))
    cost, move = cost_and_step(parameters)
    for _ in range(MAX_STEPS):
        candidate = parameters + move
        candidate[:, 0] = np.clip(candidate[:, 0], -MAX_LOG_SLOPE, MAX_LOG_SLOPE)
        candidate_cost, candidate_move = cost_and_step(candidate)
        is_better = candidate_cost <= cost
        if np.abs(candidate - parameters).max(initial=0.0) < STEP_TOLERANCE:
            break
        parameters = np.where(is_better[:, None], candidate, parameters)
        move = np.where(is_better[:, None], candidate_move, move / 2)
        cost = np.minimum(cost, candidate_cost)
    slope, offset = np.exp(parameters[:, 0]), parameters[:, 1:]
    offset = offset[:, 0] - offset[:, 1] if multiple else offset[0]
    return slope.astype(np.float32), offset.astype(np.float32)
