"""Many logistic regressions over the same rows, fitted as one problem.

Every head is a block of columns of one matrix, so that the optimiser sees one function, the sum of their losses, and
all heads share each product with the vectors. The heads differ in their targets and in the weights of the rows.
Optimiser: L-BFGS with a strong Wolfe line search (Nocedal and Wright, "Numerical Optimization", 2006).

The loss of a head is C * sum_i w_i CE_i + |W|^2 / 2, as in scikit-learn, with an unpenalised bias. One imaginary row,
at the mean of the vectors and spread evenly over the labels, is added to each head: it keeps every bias finite where a
label has no rows, and makes a head without any rows the uniform one.

With a prior, which is a head from distillation, the penalty is on the distance to the prior, including its bias: a head
without any rows is the prior. (With an unpenalised bias, rare labels lost their prior after few annotations.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.arrays import Floats

if TYPE_CHECKING:
    from torch import Tensor

C = 20.0
"""Weight of the rows' losses against the penalty. Chosen on development data, where 10 to 30 were within a point of
accuracy of each other at 25 to 500 labels."""
MAX_LIFT = 10.0
"""Labels are weighted to equal mass, but no label by more than this: a label with one row, perhaps a mistake, must not
count as much as all others. The offsets of `calibration` undo what the weighting does to the probabilities."""
MAX_ITERATIONS = 60
MANY_ROWS, MAX_ITERATIONS_ABOVE_MANY_ROWS = 5000, 20
"""Rows from which the problem is solved in well-conditioned coordinates: computing them takes longer than fitting 500
rows. On development data, 20 iterations are then as good as 30 to 60, in 0.4 of the time."""
CURVATURE = 0.02
"""Average second derivative p (1 - p) of the loss of a row by the logit of a label: 0.01 to 0.1 made little
difference."""
FLOAT32_ROUNDING = 1e-7
GRADIENT_TOLERANCE = 1e-5
"""Largest gradient of the scaled loss at which L-BFGS may stop: on development data, no probability is then further
than 0.005 from that of the optimum, after three quarters of the time."""
BIAS_SCALE = 0.2
"""Size of the constant feature: near that of the vectors' features, so that the problem is well scaled for L-BFGS."""


@dataclass(frozen=True, slots=True)
class Heads:
    """h regressions on the same targets: `targets` (n, c) in [0, 1], `rows` (h, n) the weight of each row in each
    regression."""

    targets: Floats
    rows: Floats


def balance(mass: Floats) -> Floats:
    """Returns the factors (..., outcomes) that give the outcomes equal mass. They are limited to MAX_LIFT, then scaled
    so that the total mass does not change. `mass` (..., outcomes): the total weight of the rows of each outcome."""
    is_present = mass > 0
    mean = mass.sum(-1, keepdims=True) / np.maximum(is_present.sum(-1, keepdims=True), 1)
    lift = np.minimum(np.divide(mean, mass, out=np.ones_like(mass), where=is_present), MAX_LIFT)
    lifted = (lift * mass).sum(-1, keepdims=True)
    scale = np.divide(mass.sum(-1, keepdims=True), lifted, out=np.ones_like(lifted), where=lifted > 0)
    return np.asarray(lift * scale, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Head:
    """One regression: weight (d, c), bias (c,)."""

    weight: Floats
    bias: Floats

    def logits(self, vectors: Floats) -> Floats:
        return np.asarray(vectors @ self.weight + self.bias, dtype=np.float32)

    def scaled(self, factor: float) -> Head:
        return Head(np.float32(factor) * self.weight, np.float32(factor) * self.bias)


def loss_coefficients(heads: Heads, multiple: bool, *, imaginary: bool) -> tuple[Floats, Floats]:
    """Returns the coefficients of the loss, the imaginary row last (with weight 0 if not `imaginary`): loss = sum(total
    * A(z) - linear * z).

    linear (n + 1, h, c); total (n + 1, h, 1) with A = logsumexp for one choice, (n + 1, h, c) with A = softplus for
    several.
    """
    h, c = len(heads.rows), heads.targets.shape[1]
    mass = heads.rows @ heads.targets
    rows, targets = heads.rows.T[:, :, None], heads.targets[:, None, :]
    if multiple:
        absent_mass = heads.rows.sum(1, keepdims=True) - mass
        lift = balance(np.stack([mass, np.maximum(absent_mass, 0.0)], axis=-1))
        linear = rows * targets * lift[None, :, :, 0]
        total = linear + rows * (1.0 - targets) * lift[None, :, :, 1]
    else:
        linear = rows * targets * balance(mass)[None]
        total = linear.sum(-1, keepdims=True)
    imaginary_row = np.full((1, h, c), (0.5 if multiple else 1.0 / c) * imaginary)
    return (
        np.concatenate([linear, imaginary_row]).astype(np.float32),
        np.concatenate([total, np.full((1, *total.shape[1:]), float(imaginary))]).astype(np.float32),
    )


def solve(
    vectors: Floats, groups: list[Heads], multiple: bool, prior: Head | None = None, strength: float = C,
    many_rows: int = MANY_ROWS,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Returns weights (h, d, c) and biases (h, c) float32 of all heads of all groups, in their order; `vectors` (n, d).

    If there is a prior, all heads are drawn to it.

    strength   C, the weight of the rows against the penalty
    many_rows  rows above which the problem is solved in well-conditioned coordinates
    """
    import torch

    n, d = vectors.shape
    c = groups[0].targets.shape[1]
    parts = [loss_coefficients(heads, multiple, imaginary=prior is None) for heads in groups]
    linear = torch.from_numpy(np.ascontiguousarray(np.concatenate([part[0] for part in parts], axis=1)))
    total = torch.from_numpy(np.ascontiguousarray(np.concatenate([part[1] for part in parts], axis=1)))
    h = linear.shape[1]

    mean = vectors.mean(axis=0)
    features = np.full((n + 1, d + 1), BIAS_SCALE, dtype=np.float32)
    features[:n, :d] = vectors - mean
    features[n, :d] = 0.0
    prior_logits = np.zeros((n + 1, 1, c), dtype=np.float32)
    if prior is not None:
        prior_logits[:n, 0] = prior.logits(vectors)
    offset = torch.from_numpy(prior_logits)
    penalty_diagonal = np.ones(d + 1, np.float32)
    penalty_diagonal[d] = prior is not None
    coordinates = _well_conditioned(features, penalty_diagonal / strength) if n > many_rows else None
    x = torch.from_numpy(features if coordinates is None else features @ coordinates)
    penalty = torch.from_numpy(
        penalty_diagonal[:, None] if coordinates is None else coordinates.T @ (penalty_diagonal[:, None] * coordinates)
    )
    scale = 1.0 / (n + 1)  # keeps the loss near 1, where float32 is accurate

    theta = torch.zeros((d + 1, h * c), requires_grad=True)

    def loss() -> Tensor:
        with torch.no_grad():
            z = (x @ theta).view(n + 1, h, c) + offset
            log_partition, derivative = _partition(z, multiple)
            penalty_gradient = (penalty * theta if coordinates is None else penalty @ theta) / strength
            value = (total * log_partition).sum() - (linear * z).sum() + (penalty_gradient * theta).sum() / 2
            gradient = x.T @ (total * derivative - linear).reshape(n + 1, h * c) + penalty_gradient
            theta.grad = gradient * scale
            return value * scale

    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=MAX_ITERATIONS if coordinates is None else MAX_ITERATIONS_ABOVE_MANY_ROWS,
        tolerance_grad=GRADIENT_TOLERANCE,
        tolerance_change=1e-8,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    optimiser.step(loss)  # type: ignore[no-untyped-call]
    solution = theta.detach().numpy() if coordinates is None else coordinates @ theta.detach().numpy()
    solution = solution.reshape(d + 1, h, c).transpose(1, 0, 2)
    weights = np.ascontiguousarray(solution[:, :d])
    biases = np.asarray(solution[:, d] * BIAS_SCALE - mean @ weights, dtype=np.float32)
    return (weights, biases) if prior is None else (weights + prior.weight, biases + prior.bias)


def _well_conditioned(features: Floats, penalty: Floats) -> Floats:
    """Returns new coordinates (d, d) of `features` (n, d), one a column, in which the curvature of the loss is about
    the same in all directions: the eigenvectors of the Hessian if each row had `CURVATURE`, plus a `penalty` (d,)."""
    hessian = CURVATURE * (features.T @ features).astype(np.float64) + np.diag(penalty)
    eigenvalues, eigenvectors = np.linalg.eigh(hessian)
    eigenvalues = np.maximum(eigenvalues, FLOAT32_ROUNDING * eigenvalues.max())  # linearly dependent features have none
    return np.asarray(eigenvectors / np.sqrt(eigenvalues), dtype=np.float32)


def _partition(z: Tensor, multiple: bool) -> tuple[Tensor, Tensor]:
    """Returns A(z) and its derivative: softplus and sigmoid, or logsumexp and softmax over the last axis."""
    import torch

    if multiple:
        return torch.nn.functional.softplus(z), torch.sigmoid(z)
    maximum = z.amax(-1, keepdim=True)
    exponentials = (z - maximum).exp_()
    sums = exponentials.sum(-1, keepdim=True)
    return maximum + sums.log(), exponentials / sums
