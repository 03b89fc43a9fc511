"""Many logistic regressions over the same rows, fitted as one problem.

Every head is a block of columns of one matrix, so that the optimiser sees one function, the sum of their losses, and
all heads share each product with the vectors. What tells the heads apart is their targets and how much each row counts
for them. Optimiser: L-BFGS with a strong Wolfe line search (Nocedal and Wright, "Numerical Optimization", 2006).

The loss of a head is  C * sum_i w_i CE_i + |W|^2 / 2,  as in scikit-learn, with an unpenalised bias. One imaginary row,
at the mean of the vectors and spread evenly over the labels, is added to each: it keeps every bias finite where a label
has no rows, and makes a head without any rows the uniform one.

With a prior, a head that somebody else has taught, the penalty is on the distance to it, and on that of the bias, too:
a head without any rows is the prior. (With a free bias, few labels undid what the prior knew of rare ones.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.types import Floats

if TYPE_CHECKING:
    from torch import Tensor

C = 20.0
"""Chosen on development data, where 10 to 30 were within a point of accuracy of each other at 25 to 500 labels."""
LIFT = 10.0
"""Labels are weighted to equal mass, but none more than this: a label with one row, perhaps a slip, is not the rest.
What that does to the probabilities is undone by the offsets of `calibration`."""
ITERATIONS = 60
MANY, ITERATIONS_OF_MANY = 5000, 20
"""Rows from which the problem is solved in coordinates where it is well conditioned: finding them takes longer than
fitting 500 rows. On development data, 20 iterations are then as good as 30 to 60, in 0.4 of the time."""
CURVATURE = 0.02
"""Second derivative of the loss of a row by the logit of a label, p (1 - p), on average: 0.01 to 0.1 made little
difference."""
ROUNDING = 1e-7  # of float32, relative
SETTLED = 1e-5
"""Largest gradient of the scaled loss at which L-BFGS may stop: no probability is then further than 0.005 from the
optimum's on development data, for three quarters of the time."""
BIAS_SCALE = 0.2
"""The constant feature's size: near that of the vectors' features, so that L-BFGS finds the problem well scaled."""


@dataclass(frozen=True, slots=True)
class Heads:
    """h regressions on the same targets: `targets` (n, c) in [0, 1], `rows` (h, n) the weight of each row in each."""

    targets: Floats
    rows: Floats


def balance(mass: Floats) -> Floats:
    """The weight of each outcome, from the mass (..., outcomes) that it has; the total mass stays as it was."""
    present = mass > 0
    mean = mass.sum(-1, keepdims=True) / np.maximum(present.sum(-1, keepdims=True), 1)
    lift = np.minimum(np.divide(mean, mass, out=np.ones_like(mass), where=present), LIFT)
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

    def scaled(self, by: float) -> Head:
        return Head(np.float32(by) * self.weight, np.float32(by) * self.bias)


def pulls(heads: Heads, multiple: bool, *, imaginary: bool) -> tuple[Floats, Floats]:
    """What the loss needs of targets and weights, the imaginary row last (of no weight if not `imaginary`):
    loss = sum(total * A(z) - towards * z).

    towards (n + 1, h, c); total (n + 1, h, 1) with A = logsumexp for one choice, (n + 1, h, c) with A = softplus for
    several.
    """
    h, c = len(heads.rows), heads.targets.shape[1]
    mass = heads.rows @ heads.targets
    rows, targets = heads.rows.T[:, :, None], heads.targets[:, None, :]
    if multiple:
        against_mass = heads.rows.sum(1, keepdims=True) - mass
        lift = balance(np.stack([mass, np.maximum(against_mass, 0.0)], axis=-1))
        towards = rows * targets * lift[None, :, :, 0]
        total = towards + rows * (1.0 - targets) * lift[None, :, :, 1]
    else:
        towards = rows * targets * balance(mass)[None]
        total = towards.sum(-1, keepdims=True)
    even = np.full((1, h, c), (0.5 if multiple else 1.0 / c) * imaginary)
    return (
        np.concatenate([towards, even]).astype(np.float32),
        np.concatenate([total, np.full((1, *total.shape[1:]), float(imaginary))]).astype(np.float32),
    )


def solve(
    vectors: Floats, groups: list[Heads], multiple: bool, prior: Head | None = None, strength: float = C
) -> tuple[Floats, Floats]:
    """Weights (h, d, c) and biases (h, c) float32 of all heads of all groups, in their order; `vectors` (n, d).

    All of them are drawn to the prior, if there is one. `strength`: C, what the rows count against the penalty.
    """
    import torch

    n, d = vectors.shape
    c = groups[0].targets.shape[1]
    parts = [pulls(heads, multiple, imaginary=prior is None) for heads in groups]
    towards = torch.from_numpy(np.ascontiguousarray(np.concatenate([part[0] for part in parts], axis=1)))
    total = torch.from_numpy(np.ascontiguousarray(np.concatenate([part[1] for part in parts], axis=1)))
    h = towards.shape[1]

    mean = vectors.mean(axis=0)
    features = np.full((n + 1, d + 1), BIAS_SCALE, dtype=np.float32)
    features[:n, :d] = vectors - mean
    features[n, :d] = 0.0
    given = np.zeros((n + 1, 1, c), dtype=np.float32)
    if prior is not None:
        given[:n, 0] = prior.logits(vectors)
    offset = torch.from_numpy(given)
    penalised = np.ones(d + 1, np.float32)
    penalised[d] = prior is not None
    coordinates = _well_conditioned(features, penalised / strength) if n > MANY else None
    x = torch.from_numpy(features if coordinates is None else features @ coordinates)
    penalty = torch.from_numpy(
        penalised[:, None] if coordinates is None else coordinates.T @ (penalised[:, None] * coordinates)
    )
    scale = 1.0 / (n + 1)  # of the loss, near 1 for float32's sake

    theta = torch.zeros((d + 1, h * c), requires_grad=True)

    def loss() -> Tensor:
        with torch.no_grad():
            z = (x @ theta).view(n + 1, h, c) + offset
            log_partition, share = _partition(z, multiple)
            pull = (penalty * theta if coordinates is None else penalty @ theta) / strength
            value = (total * log_partition).sum() - (towards * z).sum() + (pull * theta).sum() / 2
            gradient = x.T @ (total * share - towards).reshape(n + 1, h * c) + pull
            theta.grad = gradient * scale
            return value * scale

    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=ITERATIONS if coordinates is None else ITERATIONS_OF_MANY,
        tolerance_grad=SETTLED,
        tolerance_change=1e-8,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    optimiser.step(loss)  # type: ignore[no-untyped-call]
    solved = theta.detach().numpy() if coordinates is None else coordinates @ theta.detach().numpy()
    solved = solved.reshape(d + 1, h, c).transpose(1, 0, 2)
    weights = np.ascontiguousarray(solved[:, :d])
    biases = np.asarray(solved[:, d] * BIAS_SCALE - mean @ weights, dtype=np.float32)
    return (weights, biases) if prior is None else (weights + prior.weight, biases + prior.bias)


def _well_conditioned(features: Floats, penalty: Floats) -> Floats:
    """(d, d) new coordinates of `features` (n, d), one a column, in which the loss curves about alike in all
    directions: those of the Hessian if each row had `CURVATURE`, beside a `penalty` (d,)."""
    hessian = CURVATURE * (features.T @ features).astype(np.float64) + np.diag(penalty)
    curvatures, directions = np.linalg.eigh(hessian)
    curvatures = np.maximum(curvatures, ROUNDING * curvatures.max())  # of features that depend on each other
    return np.asarray(directions / np.sqrt(curvatures), dtype=np.float32)


def _partition(z: Tensor, multiple: bool) -> tuple[Tensor, Tensor]:
    """A(z) and its derivative: softplus and sigmoid, or logsumexp and softmax over the last axis."""
    import torch

    if multiple:
        return torch.nn.functional.softplus(z), torch.sigmoid(z)
    top = z.amax(-1, keepdim=True)
    exponentials = (z - top).exp_()
    sums = exponentials.sum(-1, keepdim=True)
    return top + sums.log(), exponentials / sums
