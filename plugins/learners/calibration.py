"""Logits to probabilities, and the slope and offsets that make them honest, in numpy alone.

Class weighting shifts the probabilities towards rare labels and no slope takes that back; an offset per label does.
Several labels: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), a slope and an offset for each. One
choice: one slope for all and an offset for each label (the bias-corrected temperature of Alexandari, Kundaje,
Shrikumar: "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import Floats, Tensors

Doubles = npt.NDArray[np.float64]

PRIOR_ROWS = 5.0
"""The strength of the belief that the logits are right as they are: half of this, in nats, is the penalty of a slope of
e or 1/e, and of an offset of 1. The larger, the more of the lift of rare labels stays. Chosen on development data: 2
was poorly calibrated at 25 labels, and taking out the lift itself lost accuracy and rare labels."""
CHUNK = 8192
SMALLEST = 1e-6
WIDEST = 3.0
STEPS = 20
SETTLED = 1e-3


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


def cross_entropy(said: Floats, targets: Floats, multiple: bool) -> Floats:
    """(n,) of probabilities (n, c), in nats."""
    p = np.clip(said, SMALLEST, 1 - SMALLEST)
    loss = targets * np.log(p) + ((1 - targets) * np.log(1 - p) if multiple else 0)
    return np.asarray(-loss.sum(axis=1))


def linear(tensors: Tensors, vectors: Floats) -> Floats:
    """(n, c) what a linear head says: weight (d, c), bias (c,), multiple (1,) bool. Chunk by chunk: vectors (n, d) may
    be float16 or mapped from a file."""
    weight, bias = (np.asarray(tensors[name], np.float32) for name in ("weight", "bias"))
    multiple = bool(tensors["multiple"][0])
    out: Floats = np.empty((len(vectors), len(bias)), np.float32)
    for start in range(0, len(vectors), CHUNK):
        chunk = np.asarray(vectors[start : start + CHUNK], np.float32)
        out[start : start + CHUNK] = probabilities(chunk @ weight + bias, multiple)
    return out


def calibration(logits: Floats, targets: Floats, weights: Floats, multiple: bool) -> tuple[Floats, Floats]:
    """Slope (c,) or, for one choice, (1,) and offset (c,), of least cross-entropy of slope * logits + offset with
    `targets` (n, c), drawn to 1 and 0 when rows are few.

    Several labels are as many choices between that label and its absence, solved side by side. Fisher scoring, with
    the slope's logarithm so that it stays positive; a step that does no good is halved.
    """
    used = weights > 0
    z, t = (a[used].T.astype(np.float64, order="C") for a in (logits, targets))  # rows last in memory: far faster
    z, t = (np.stack([z, -z], 1) / 2, np.stack([t, 1 - t], 1)) if multiple else (z[None], t[None])
    t = t * weights[used]
    mass = t.sum(1, keepdims=True)
    outcomes = z.shape[1]

    def look(at: Doubles) -> tuple[Doubles, Doubles]:
        """The cost of each problem (problems,), and the step (problems, 1 + outcomes) to take from there."""
        pull = np.exp(at[:, :1, None]) * z
        x = pull + at[:, 1:, None]
        x -= x.max(1, keepdims=True)
        p = np.exp(x)
        sums = p.sum(1, keepdims=True)
        p /= sums
        cost = (mass * np.log(sums)).sum((1, 2)) - (t * x).sum((1, 2)) + PRIOR_ROWS / 2 * np.square(at).sum(1)

        heavy = mass * p
        residual = heavy - t
        gradient = np.column_stack([(residual * pull).sum((1, 2)), residual.sum(2)]) + PRIOR_ROWS * at
        apart = heavy * (pull - (p * pull).sum(1, keepdims=True))
        curvature = np.zeros((len(z), 1 + outcomes, 1 + outcomes))
        curvature[:, 0, 0] = (apart * pull).sum((1, 2))
        curvature[:, 0, 1:] = curvature[:, 1:, 0] = apart.sum(2)
        curvature[:, 1:, 1:] = heavy.sum(2)[:, None] * np.eye(outcomes) - heavy @ p.transpose(0, 2, 1)
        curvature += PRIOR_ROWS * np.eye(1 + outcomes)
        return cost, np.asarray(np.linalg.solve(curvature, -gradient[..., None])[..., 0], dtype=np.float64)

    at: Doubles = np.zeros((len(z), 1 + outcomes))
    cost, move = look(at)
    for _ in range(STEPS):
        ahead = at + move
        ahead[:, 0] = np.clip(ahead[:, 0], -WIDEST, WIDEST)
        reached, onward = look(ahead)
        better = reached <= cost
        if np.abs(ahead - at).max(initial=0.0) < SETTLED:
            break
        at = np.where(better[:, None], ahead, at)
        move = np.where(better[:, None], onward, move / 2)
        cost = np.minimum(cost, reached)
    slope, offset = np.exp(at[:, 0]), at[:, 1:]
    offset = offset[:, 0] - offset[:, 1] if multiple else offset[0]
    return slope.astype(np.float32), offset.astype(np.float32)
