"""LAAT with a hidden layer beside its linear head, for labels that are not linearly separable.

The linear head (see `laat`) combines the teacher's scores and the labels, and the hidden units are fitted to its
residuals, from its leave-one-out predictions (stacking: Wolpert, "Stacked Generalization", Neural Networks 1992).
LAAT's attribution-matching term (Vukadin, Silic, Delac, arXiv 2502.20268, section 3) draws the gradient of the mean
logits by the inputs to that of the linear head: the units may add curvature, but the fewer rows are labelled, the less
they may change the mean gradient. The cross-validated loss chooses the factor with which the units count.

Constants were chosen on ten tables that are not of the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import DistillationData, Fit, Floats, Ints, Tensors, TrainingSet
from ml_backend.core.schema import takes_several_labels
from plugins.learners.calibration import CHUNK_ROWS, MIN_PROBABILITY, cross_entropy, probabilities
from plugins.learners.cross_validation import earlier_targets_nearly_equal, split
from plugins.learners.laat import Laat

HIDDEN_UNITS, EPOCHS, LEARNING_RATE, FOLDS = 32, 60, 0.03, 3
GAMMA, WEIGHT_DECAY = 100.0, 3.0
"""Factors of the distance of the attributions, and of the squared weights; both are divided by the number of rows."""
UNIT_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Factors of the units' logits that are compared."""
INPUT_FACTOR = 8.0
"""Vectors have unit length: this factor makes their columns about as wide as standardised ones."""
INPUT, INPUT_BIAS, OUTPUT, OUTPUT_BIAS = "input", "input_bias", "output", "output_bias"


class Mlp:
    """Tensors: those of `Laat`; input (d, h), input_bias (h,), output (h, c) and output_bias (c,) of the h units."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        return with_hidden_units(train, Laat().fit(train, seed), seed)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Returns the prior of the linear head."""
        return Laat().distil(data, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Returns calibrated probabilities (n, c). Works in chunks, as `linear_probabilities`."""
        weight, bias = (np.asarray(tensors[name], np.float32) for name in ("weight", "bias"))
        out: Floats = np.empty((len(vectors), len(bias)), np.float32)
        for start in range(0, len(vectors), CHUNK_ROWS):
            x = np.asarray(vectors[start : start + CHUNK_ROWS], np.float32)
            logits: Floats = x @ weight + bias + unit_logits_of(tensors, x)
            out[start : start + CHUNK_ROWS] = probabilities(logits, bool(tensors["multiple"][0]))
        return out


def with_hidden_units(train: TrainingSet, linear: Fit, seed: int) -> Fit:
    """Adds hidden units to the fit of a linear head."""
    fold = split(train.targets, takes_several_labels(train.control), seed, FOLDS)
    tensors, held_out = _stacked(train, train.targets, train.weights, linear.held_out, fold, seed)
    earlier = linear.held_out_earlier
    if earlier_targets_nearly_equal(train):
        earlier = held_out
    elif train.earlier_to_validate is not None and earlier is not None:
        weights = train.weights * ~np.isnan(train.earlier_to_validate).any(axis=1)
        _, earlier = _stacked(train, np.nan_to_num(train.earlier_to_validate), weights, earlier, fold, seed)
    return replace(linear, tensors={**linear.tensors, **tensors}, held_out=held_out, held_out_earlier=earlier)


def _stacked(
    train: TrainingSet, targets: Floats, weights: Floats, linear_probabilities: Floats, fold: Ints, seed: int
) -> tuple[Tensors, Floats]:
    """Returns the units that are fitted beside a linear head with the held-out probabilities `linear_probabilities` (n,
    c), and the held-out probabilities (n, c) of both together."""
    multiple = takes_several_labels(train.control)
    p = np.clip(linear_probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    linear_logits = np.asarray(np.log(p) - (np.log(1 - p) if multiple else 0), np.float32)
    row_weights = np.vstack([weights, *(weights * (fold != f) for f in range(FOLDS))]).astype(np.float32)
    x = np.asarray(train.vectors, np.float32)
    units, *units_by_fold = fitted_units(x, targets, row_weights, linear_logits, multiple, seed)
    unit_logits = np.zeros_like(linear_logits)
    for f, tensors in enumerate(units_by_fold):
        unit_logits[fold == f] = unit_logits_of(tensors, x[fold == f])
    candidates = [
        linear_probabilities,
        *(probabilities(linear_logits + np.float32(share) * unit_logits, multiple) for share in UNIT_SHARES[1:]),
    ]
    best = int(np.argmin([weights @ cross_entropy(candidate, targets, multiple) for candidate in candidates]))
    units |= {name: np.float32(UNIT_SHARES[best]) * units[name] for name in (OUTPUT, OUTPUT_BIAS)}
    return {**units}, candidates[best]


def fitted_units(
    x: Floats, targets: Floats, row_weights: Floats, linear_logits: Floats, multiple: bool, seed: int
) -> list[dict[str, Floats]]:
    """Returns the units fitted with each of k sets of row weights (k, n), all in one optimisation: Adam, full batch."""
    import torch
    from torch.nn import functional

    (n, d), (k, _), c = x.shape, row_weights.shape, targets.shape[1]
    inputs, labels, offset = (
        torch.from_numpy(np.asarray(array, np.float32)) for array in (x * INPUT_FACTOR, targets, linear_logits)
    )
    total_weight = torch.from_numpy(row_weights.sum(axis=1)).clamp_min(1e-6)
    row_shares = torch.from_numpy(row_weights) / total_weight[:, None]
    initial = torch.randn(d, HIDDEN_UNITS, generator=torch.Generator().manual_seed(seed)) / d**0.5
    shapes = (k, 1, HIDDEN_UNITS), (k, HIDDEN_UNITS, c), (k, 1, c)
    weights = [initial.repeat(k, 1, 1), *(torch.zeros(shape) for shape in shapes)]
    input_weights, input_biases, output_weights, output_biases = (tensor.requires_grad_() for tensor in weights)
    optimiser = torch.optim.Adam(weights, lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        units = torch.tanh(inputs @ input_weights + input_biases)
        logits = offset + units @ output_weights + output_biases
        expanded_labels = labels.expand(k, n, c)
        if multiple:
            row_losses = functional.binary_cross_entropy_with_logits(logits, expanded_labels, reduction="none").sum(
                dim=2
            )
        else:
            row_losses = -(expanded_labels * functional.log_softmax(logits, dim=2)).sum(dim=2)
        slopes = ((1 - units.square()) * row_shares[..., None]).sum(dim=1)  # mean derivative of each unit
        attribution_distance = (
            torch.einsum("kdh,kh,khc->kdc", input_weights, slopes, output_weights).square().sum(dim=(1, 2))
        )
        squared_weights = input_weights.square().sum(dim=(1, 2)) + output_weights.square().sum(dim=(1, 2))
        loss = (row_shares * row_losses).sum(dim=1) + (
            GAMMA * attribution_distance + WEIGHT_DECAY * squared_weights
        ) / total_weight.clamp_min(1.0)
        loss.sum().backward()
        optimiser.step()
    arrays = [
        input_weights.detach() * INPUT_FACTOR,
        input_biases.detach()[:, 0],
        output_weights.detach(),
        output_biases.detach()[:, 0],
    ]
    names = (INPUT, INPUT_BIAS, OUTPUT, OUTPUT_BIAS)
    return [{name: array[i].numpy().copy() for name, array in zip(names, arrays, strict=True)} for i in range(k)]


def unit_logits_of(tensors: Mapping[str, npt.NDArray[np.generic]], x: Floats) -> Floats:
    """Returns the logits (n, c) that the units add."""
    input_weights, input_bias, output_weights, output_bias = (
        np.asarray(tensors[name], np.float32) for name in (INPUT, INPUT_BIAS, OUTPUT, OUTPUT_BIAS)
    )
    logits: Floats = np.tanh(x @ input_weights + input_bias) @ output_weights + output_bias
    return logits
