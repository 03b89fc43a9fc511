"""Bayesian averaging of ridge logistic regressions with different priors, weighted by their evidence.

Each member has a Gaussian prior on one head: w ~ N(alpha u, tau^2 diag(scale^2)), b ~ N(0, BIAS_SD^2), where u is a
direction in the space of the columns. The evidence of a member, the likelihood of the targets with w and b integrated
out, is Laplace's approximation (MacKay, "The Evidence Framework Applied to Classification Networks", Neural Computation
1992): it is defined from the first labelled row on and needs no folds. The leave-one-out logit of each row follows from
the curvature (approximate leave-one-out: Rad and Maleki, JRSS B 2020), so that no member is fitted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

BIAS_SD = 2.0
MAX_NEWTON_STEPS, MAX_HALVINGS = 30, 12
STEP_TOLERANCE = 1e-2
"""The iteration stops when no parameter changes by more."""
MIN_RELATIVE_SINGULAR_VALUE = 1e-7
"""Singular values below this part of the largest one are left out."""


@dataclass(frozen=True, slots=True)
class Members:
    """G fitted members: evidence (G,); weights (G, d); biases (G,); left_out (G, n), the leave-one-out logit of each
    row."""

    evidence: Doubles
    weights: Doubles
    biases: Doubles
    left_out: Doubles


def linearised_evidence(
    x: Doubles,
    targets: Doubles,
    row_weights: Doubles,
    u: Doubles,
    scale: Doubles,
    alphas_and_taus: Sequence[tuple[float, float]],
) -> Doubles:
    """Returns the approximate evidence (G,) of each member in a fraction of the time of `fit`: the evidence of a
    least-squares fit to 4 (t - mean) with noise variance 4, which is the logistic likelihood around a logit of 0, and a
    flat prior on the bias. The arguments are those of `fit`."""
    normalised = row_weights / max(row_weights.sum(), 1e-12)
    root_weights = np.sqrt(row_weights)
    left_vectors, singular_values, _ = np.linalg.svd(
        (x - normalised @ x) * scale * root_weights[:, None], full_matrices=False
    )
    along_u, responses = x @ u, 4 * (targets - normalised @ targets)
    along_u = along_u - normalised @ along_u
    evidence = np.empty(len(alphas_and_taus))
    for i, (alpha, tau) in enumerate(alphas_and_taus):
        residuals = root_weights * (responses - alpha * along_u)
        projections, variances = left_vectors.T @ residuals, 4 + np.square(tau * singular_values)
        terms = np.square(projections) / variances + np.log(variances / 4)
        evidence[i] = -0.5 * (terms.sum() + (residuals @ residuals - projections @ projections) / 4)
    return evidence


def fit(
    x: Doubles,
    targets: Doubles,
    row_weights: Doubles,
    u: Doubles,
    scale: Doubles,
    alphas_and_taus: Sequence[tuple[float, float]],
) -> Members:
    """Fits a member for each pair (alpha, tau), all in one damped Newton iteration in coordinates of the space that the
    rows of x span.

    x (n, d); targets (n,) in [0, 1]; row_weights (n,) >= 0; u (d,); scale (d,) >= 0.
    """
    n = len(x)
    alpha, tau = np.array(alphas_and_taus, np.float64).T
    left_vectors, singular_values, right_vectors = np.linalg.svd(x * scale, full_matrices=False)
    is_kept = singular_values > MIN_RELATIVE_SINGULAR_VALUE * max(singular_values.max(initial=0.0), 1e-12)
    rows = np.hstack([left_vectors[:, is_kept] * singular_values[is_kept], np.ones((n, 1))])
    r = rows.shape[1]
    precision = np.hstack([np.repeat(tau[:, None] ** -2, r - 1, axis=1), np.full((len(tau), 1), BIAS_SD**-2)])
    offset = alpha[:, None] * (x @ u)

    def log_posterior(parameters: Doubles) -> tuple[Doubles, Doubles]:
        """Returns the logits (G, n) and the log posterior (G,) at the parameters (G, r)."""
        logits = parameters @ rows.T + offset
        likelihood = (row_weights * (targets * logits - np.logaddexp(0, logits))).sum(axis=1)
        return logits, likelihood - 0.5 * (precision * parameters**2).sum(axis=1)

    def curvature(logits: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Returns the probabilities (G, n), the weight of each row in the Hessian (G, n), and the Hessian (G, r, r)."""
        probabilities = 1 / (1 + np.exp(-logits))
        curvature_weights = row_weights * np.maximum(probabilities * (1 - probabilities), 1e-6)
        hessian = np.matmul(rows.T * curvature_weights[:, None, :], rows)
        hessian[:, np.arange(r), np.arange(r)] += precision
        return probabilities, curvature_weights, hessian

    parameters: Doubles = np.zeros((len(tau), r))
    logits, objective = log_posterior(parameters)
    for _ in range(MAX_NEWTON_STEPS):
        probabilities, _, hessian = curvature(logits)
        gradient = (row_weights * (targets - probabilities)) @ rows - precision * parameters
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        step_sizes = np.ones(len(tau))
        for _ in range(MAX_HALVINGS):
            candidate = parameters + step_sizes[:, None] * step
            logits, candidate_objective = log_posterior(candidate)
            is_worse = candidate_objective < objective - 1e-9
            if not is_worse.any():
                break
            step_sizes[is_worse] /= 2
        parameters, objective = candidate, candidate_objective
        if np.abs(step).max() < STEP_TOLERANCE:
            break
    probabilities, curvature_weights, hessian = curvature(logits)
    cholesky = np.linalg.cholesky(hessian)
    evidence = (
        objective + 0.5 * np.log(precision).sum(axis=1) - np.log(cholesky[:, np.arange(r), np.arange(r)]).sum(axis=1)
    )
    whitened = np.linalg.solve(cholesky, np.broadcast_to(rows.T, (len(tau), r, n)))
    leverage = np.square(whitened).sum(axis=1)
    left_out = logits - row_weights * (targets - probabilities) * leverage / np.maximum(
        1 - curvature_weights * leverage, 1e-3
    )
    weights = alpha[:, None] * u + (parameters[:, :-1] @ right_vectors[is_kept]) * scale
    return Members(evidence, weights, parameters[:, -1], left_out)
