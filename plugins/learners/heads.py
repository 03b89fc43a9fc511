"""Many logistic regressions over the same rows, fitted as one problem.

Every head is a block of columns of one matrix, so that the optimiser sees one function, the sum of their losses, and
all heads share each product with the vectors. What tells the heads apart is their targets and how much each row counts
for them. Optimiser: L-BFGS with a strong Wolfe line search (Nocedal and Wright, "Numerical Optimization", 2006).

The loss of a head is  C * sum_i w_i CE_i + |W|^2 / 2,  as in scikit-learn, with an unpenalised bias. One imaginary row,
at the mean of the vectors and spread evenly over the labels, is added to each: it keeps every bias finite where a label
has no rows, and makes a head without any rows the uniform one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.domain import Floats

if TYPE_CHECKING:
    from torch import Tensor

C = 20.0
"""Chosen on development data, where 10 to 30 were within a point of accuracy of each other at 25 to 500 labels."""
LIFT = 10.0
"""Labels are weighted to equal mass, but none more than this: a label with one row, perhaps a slip, is not the rest.
What that does to the probabilities is undone by the offsets of `calibration`."""
ITERATIONS = 60
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


def pulls(heads: Heads, multiple: bool) -> tuple[Floats, Floats]:
    """What the loss needs of targets and weights, the imaginary row last: loss = sum(total * A(z) - towards * z).

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
    imaginary = np.full((1, h, c), 0.5 if multiple else 1.0 / c)
    return (
        np.concatenate([towards, imaginary]).astype(np.float32),
        np.concatenate([total, np.ones((1, *total.shape[1:]))]).astype(np.float32),
    )


def solve(vectors: Floats, groups: list[Heads], multiple: bool) -> tuple[Floats, Floats]:
    """Weights (h, d, c) and biases (h, c) float32 of all heads of all groups, in their order; `vectors` (n, d)."""
    import torch

    n, d = vectors.shape
    c = groups[0].targets.shape[1]
    parts = [pulls(heads, multiple) for heads in groups]
    towards = torch.from_numpy(np.ascontiguousarray(np.concatenate([part[0] for part in parts], axis=1)))
    total = torch.from_numpy(np.ascontiguousarray(np.concatenate([part[1] for part in parts], axis=1)))
    h = towards.shape[1]

    mean = vectors.mean(axis=0)
    features = np.full((n + 1, d + 1), BIAS_SCALE, dtype=np.float32)
    features[:n, :d] = vectors - mean
    features[n, :d] = 0.0
    x = torch.from_numpy(features)
    scale = 1.0 / (n + 1)  # of the loss, near 1 for float32's sake

    theta = torch.zeros((d + 1, h * c), requires_grad=True)

    def loss() -> Tensor:
        with torch.no_grad():
            z = (x @ theta).view(n + 1, h, c)
            log_partition, share = _partition(z, multiple)
            penalised = theta[:d]
            value = (total * log_partition).sum() - (towards * z).sum() + penalised.square().sum() / (2 * C)
            gradient = x.T @ (total * share - towards).reshape(n + 1, h * c)
            gradient[:d] += penalised / C
            theta.grad = gradient * scale
            return value * scale

    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=ITERATIONS,
        tolerance_grad=SETTLED,
        tolerance_change=1e-8,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    optimiser.step(loss)  # type: ignore[no-untyped-call]
    solved = theta.detach().numpy().reshape(d + 1, h, c).transpose(1, 0, 2)
    weights = np.ascontiguousarray(solved[:, :d])
    return weights, np.asarray(solved[:, d] * BIAS_SCALE - mean @ weights, dtype=np.float32)


def _partition(z: Tensor, multiple: bool) -> tuple[Tensor, Tensor]:
    """A(z) and its derivative: softplus and sigmoid, or logsumexp and softmax over the last axis."""
    import torch

    if multiple:
        return torch.nn.functional.softplus(z), torch.sigmoid(z)
    top = z.amax(-1, keepdim=True)
    exponentials = (z - top).exp_()
    sums = exponentials.sum(-1, keepdim=True)
    return top + sums.log(), exponentials / sums
