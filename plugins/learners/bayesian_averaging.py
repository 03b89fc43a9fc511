"""Ridge logistic regressions around several centres, weighed by how likely they make the answers.

Each member is a prior belief about one head: w ~ N(alpha u, tau^2 diag(scale^2)), b ~ N(0, BIAS_SD^2), where u is a
direction that somebody believes in. Its evidence, the likelihood of the answers with w and b integrated out, is
Laplace's (MacKay, "The Evidence Framework Applied to Classification Networks", Neural Computation 1992): it speaks from
the first answer on, and needs no folds. What each member says of a row that it has not learnt from follows from the
curvature (approximate leave-one-out: Rad and Maleki, JRSS B 2020), so that nothing is fitted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

BIAS_SD = 2.0
STEPS, HALVINGS = 30, 12
SETTLED = 1e-2
SMALLEST = 1e-7
"""Of the largest singular value: directions below it are in no row."""


@dataclass(frozen=True, slots=True)
class Members:
    """G fitted members. evidence (G,); weights (G, d); biases (G,); left_out (G, n): the logit that each gives to each
    row without having learnt from it."""

    evidence: Doubles
    weights: Doubles
    biases: Doubles
    left_out: Doubles


def linearised(
    x: Doubles, targets: Doubles, trust: Doubles, u: Doubles, scale: Doubles, spreads: Sequence[tuple[float, float]]
) -> Doubles:
    """(G,) about the evidence of each member of `spreads`, for a fraction of the time: that of least squares on 4 (t -
    mean) with noise variance 4, the logistic likelihood around a logit of 0, and a flat bias. Arguments as of `fit`."""
    share = trust / max(trust.sum(), 1e-12)
    root = np.sqrt(trust)
    left, values, _ = np.linalg.svd((x - share @ x) * scale * root[:, None], full_matrices=False)
    towards, apart = x @ u, 4 * (targets - share @ targets)
    towards = towards - share @ towards
    found = np.empty(len(spreads))
    for place, (alpha, tau) in enumerate(spreads):
        rest = root * (apart - alpha * towards)
        along, size = left.T @ rest, 4 + np.square(tau * values)
        inside = np.square(along) / size + np.log(size / 4)
        found[place] = -0.5 * (inside.sum() + (rest @ rest - along @ along) / 4)
    return found


def fit(
    x: Doubles, targets: Doubles, trust: Doubles, u: Doubles, scale: Doubles, spreads: Sequence[tuple[float, float]]
) -> Members:
    """The members (alpha, tau) of `spreads`, all in one damped Newton iteration in the coordinates of the rows.

    x (n, d); targets (n,) in [0, 1]; trust (n,) >= 0, the weight of each row; u (d,); scale (d,) >= 0.
    """
    n = len(x)
    alpha, tau = np.array(spreads, np.float64).T
    left, values, right = np.linalg.svd(x * scale, full_matrices=False)
    there = values > SMALLEST * max(values.max(initial=0.0), 1e-12)
    rows = np.hstack([left[:, there] * values[there], np.ones((n, 1))])
    r = rows.shape[1]
    precision = np.hstack([np.repeat(tau[:, None] ** -2, r - 1, axis=1), np.full((len(tau), 1), BIAS_SD**-2)])
    offset = alpha[:, None] * (x @ u)

    def look(at: Doubles) -> tuple[Doubles, Doubles]:
        """The logits (G, n) there, and the log posterior (G,)."""
        z = at @ rows.T + offset
        likelihood = (trust * (targets * z - np.logaddexp(0, z))).sum(axis=1)
        return z, likelihood - 0.5 * (precision * at**2).sum(axis=1)

    def curvature(z: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Probabilities (G, n), the weight of each row in the curvature (G, n), and the curvature (G, r, r)."""
        p = 1 / (1 + np.exp(-z))
        v = trust * np.maximum(p * (1 - p), 1e-6)
        bent = np.matmul(rows.T * v[:, None, :], rows)
        bent[:, np.arange(r), np.arange(r)] += precision
        return p, v, bent

    at: Doubles = np.zeros((len(tau), r))
    z, value = look(at)
    for _ in range(STEPS):
        p, _, bent = curvature(z)
        slope = (trust * (targets - p)) @ rows - precision * at
        step = np.linalg.solve(bent, slope[..., None])[..., 0]
        size = np.ones(len(tau))
        for _ in range(HALVINGS):
            ahead = at + size[:, None] * step
            z, reached = look(ahead)
            worse = reached < value - 1e-9
            if not worse.any():
                break
            size[worse] /= 2
        at, value = ahead, reached
        if np.abs(step).max() < SETTLED:
            break
    p, v, bent = curvature(z)
    root = np.linalg.cholesky(bent)
    evidence = value + 0.5 * np.log(precision).sum(axis=1) - np.log(root[:, np.arange(r), np.arange(r)]).sum(axis=1)
    solved = np.linalg.solve(root, np.broadcast_to(rows.T, (len(tau), r, n)))
    lever = np.square(solved).sum(axis=1)
    left_out = z - trust * (targets - p) * lever / np.maximum(1 - v * lever, 1e-3)
    weights = alpha[:, None] * u + (at[:, :-1] @ right[there]) * scale
    return Members(evidence, weights, at[:, -1], left_out)
