"""LAAT as it should be, bent: a layer of units around its linear head, for labels that no line tells apart.

The linear head (see `laat`) says what the teacher's scores and the answers say together, and the units are fitted to
what it leaves over: to the answers that it gives to rows without having learnt from them (stacking: Wolpert, "Stacked
Generalization", Neural Networks 1992). LAAT's attribution-matching term (Vukadin, Silic, Delac, arXiv 2502.20268,
section 3) draws the gradient of the mean logits by the inputs to that of the linear head: units may bend it, and turn
it the less, the fewer the answers are. They count with the share that answers speak for that they have not learnt from.

Constants were chosen on ten tables that are not of the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import DistillationData, Fit, Floats, Ints, Tensors, TrainingSet
from plugins.learners.calibration import CHUNK, SMALLEST, cross_entropy, probabilities
from plugins.learners.cross_validation import is_nearly_the_same, split
from plugins.learners.laat import Laat

HIDDEN, EPOCHS, RATE, FOLDS = 32, 60, 0.03, 3
GAMMA, DECAY = 100.0, 3.0
"""Of the attributions' distance, and of the squared weights; both are divided by the number of answers."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
WIDTH = 8.0
"""Vectors have unit length: by this factor, their columns are about as wide as standardised ones."""
INPUT, INPUT_BIAS, OUTPUT, OUTPUT_BIAS = "input", "input_bias", "output", "output_bias"


class Mlp:
    """Tensors: those of `Laat`; input (d, h), input_bias (h,), output (h, c) and output_bias (c,) of the units."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        return bent(train, Laat().fit(train, seed), seed)

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """What the linear head starts from."""
        return Laat().distil(material, multiple, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities. Chunk by chunk, as `calibration.linear`."""
        weight, bias = (np.asarray(tensors[name], np.float32) for name in ("weight", "bias"))
        out: Floats = np.empty((len(vectors), len(bias)), np.float32)
        for start in range(0, len(vectors), CHUNK):
            x = np.asarray(vectors[start : start + CHUNK], np.float32)
            logits: Floats = x @ weight + bias + _units(tensors, x)
            out[start : start + CHUNK] = probabilities(logits, bool(tensors["multiple"][0]))
        return out


def bent(train: TrainingSet, straight: Fit, seed: int) -> Fit:
    """The fit of a linear head with units around it."""
    fold = split(train.targets, train.multiple, seed, FOLDS)
    tensors, held_out = _stacked(train, train.targets, train.weights, straight.held_out, fold, seed)
    earlier = straight.held_out_earlier
    if is_nearly_the_same(train):
        earlier = held_out
    elif train.earlier_to_judge is not None and earlier is not None:
        known = train.weights * ~np.isnan(train.earlier_to_judge).any(axis=1)
        _, earlier = _stacked(train, np.nan_to_num(train.earlier_to_judge), known, earlier, fold, seed)
    return replace(straight, tensors={**straight.tensors, **tensors}, held_out=held_out, held_out_earlier=earlier)


def _stacked(
    train: TrainingSet, targets: Floats, weights: Floats, said: Floats, fold: Ints, seed: int
) -> tuple[Tensors, Floats]:
    """The units around a head that has `said` (n, c) of the rows, and what both say of rows that they have not learnt
    from."""
    p = np.clip(said, SMALLEST, 1 - SMALLEST)
    straight = np.asarray(np.log(p) - (np.log(1 - p) if train.multiple else 0), np.float32)
    rows = np.vstack([weights, *(weights * (fold != f) for f in range(FOLDS))]).astype(np.float32)
    x = np.asarray(train.vectors, np.float32)
    everything, *without = _fitted(x, targets, rows, straight, train.multiple, seed)
    apart = np.zeros_like(straight)
    for f, tensors in enumerate(without):
        apart[fold == f] = _units(tensors, x[fold == f])
    answers = [said, *(probabilities(straight + np.float32(share) * apart, train.multiple) for share in SHARES[1:])]
    best = int(np.argmin([weights @ cross_entropy(each, targets, train.multiple) for each in answers]))
    everything |= {name: np.float32(SHARES[best]) * everything[name] for name in (OUTPUT, OUTPUT_BIAS)}
    return {**everything}, answers[best]


def _fitted(
    x: Floats, targets: Floats, rows: Floats, straight: Floats, multiple: bool, seed: int
) -> list[dict[str, Floats]]:
    """The units of each of k sets of rows, with their weights (k, n), all in one optimisation: Adam, full batch."""
    import torch
    from torch.nn import functional

    (n, d), (k, _), c = x.shape, rows.shape, targets.shape[1]
    inputs, answers, offset = (
        torch.from_numpy(np.asarray(each, np.float32)) for each in (x * WIDTH, targets, straight)
    )
    total = torch.from_numpy(rows.sum(axis=1)).clamp_min(1e-6)
    share = torch.from_numpy(rows) / total[:, None]
    first = torch.randn(d, HIDDEN, generator=torch.Generator().manual_seed(seed)) / d**0.5
    shapes = (k, 1, HIDDEN), (k, HIDDEN, c), (k, 1, c)
    weights = [first.repeat(k, 1, 1), *(torch.zeros(shape) for shape in shapes)]
    into, into_bias, out, out_bias = (each.requires_grad_() for each in weights)
    optimiser = torch.optim.Adam(weights, lr=RATE)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        units = torch.tanh(inputs @ into + into_bias)
        logits = offset + units @ out + out_bias
        goals = answers.expand(k, n, c)
        if multiple:
            each = functional.binary_cross_entropy_with_logits(logits, goals, reduction="none").sum(dim=2)
        else:
            each = -(goals * functional.log_softmax(logits, dim=2)).sum(dim=2)
        slopes = ((1 - units.square()) * share[..., None]).sum(dim=1)  # of each unit, on average
        turned = torch.einsum("kdh,kh,khc->kdc", into, slopes, out).square().sum(dim=(1, 2))
        size = into.square().sum(dim=(1, 2)) + out.square().sum(dim=(1, 2))
        loss = (share * each).sum(dim=1) + (GAMMA * turned + DECAY * size) / total.clamp_min(1.0)
        loss.sum().backward()
        optimiser.step()
    found = [into.detach() * WIDTH, into_bias.detach()[:, 0], out.detach(), out_bias.detach()[:, 0]]
    names = (INPUT, INPUT_BIAS, OUTPUT, OUTPUT_BIAS)
    return [{name: each[place].numpy().copy() for name, each in zip(names, found, strict=True)} for place in range(k)]


def _units(tensors: Mapping[str, npt.NDArray[np.generic]], x: Floats) -> Floats:
    """(n, c) what the units add to the logits."""
    into, into_bias, out, out_bias = (
        np.asarray(tensors[name], np.float32) for name in (INPUT, INPUT_BIAS, OUTPUT, OUTPUT_BIAS)
    )
    found: Floats = np.tanh(x @ into + into_bias) @ out + out_bias
    return found
