"""LAAT as published: cross-entropy plus gamma times the distance of the attributions from the teacher's scores.

Vukadin, Silic, Delac, "Large Language Models as Attribution Regularizers for Efficient Model Training" (arXiv
2502.20268), section 3: L = BCE + gamma * MSE(a / |a|, t / |t|), where a is the gradient of the mean logit by the inputs
and t the mean over the estimates of sign(s) exp(|s|); gamma 100; inputs scaled to [0, 1] over the training rows; Adam
at 0.01 for 200 epochs; a logistic regression, or one layer of 100 ReLU units. With two labels the logit is that of the
second; with more, or several at once, each label has a head of its own. This learner exists for comparisons: at gamma
100 it hardly learns from labels. For a project, use `laat`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Ints, Tensors, TrainingSet
from ml_backend.core.schema import takes_several_labels
from plugins.learners.calibration import CHUNK_ROWS, probabilities
from plugins.learners.cross_validation import split
from plugins.learners.laat import FIELDS, Laat

if TYPE_CHECKING:
    import torch

GAMMA, LEARNING_RATE, EPOCHS, HIDDEN_UNITS = 100.0, 1e-2, 200, 100


class LaatPaper:
    """Tensors: low (d,) and range (d,), the scaling of the inputs; weight0, bias0 and, with a hidden layer, weight1 and
    bias1; multiple (1,) bool; pair (1,) bool, whether there is one logit for two labels. `hidden`: the number of hidden
    units, 0 for a linear model."""

    def __init__(self, hidden: int = 0) -> None:
        self.hidden = hidden

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits once on all rows and once without each fold. Nothing is calibrated, as in the paper."""
        fold = split(train.targets, takes_several_labels(train.control), seed)
        prior = train.priors.get(FIELDS)
        tensors = self._trained(train, train.targets, train.weights, prior, seed)
        held_out = self._held_out(train, train.targets, train.weights, prior, fold, seed)
        earlier = None
        if train.earlier_to_validate is not None:
            weights = train.weights * ~np.isnan(train.earlier_to_validate).any(axis=1)
            earlier = self._held_out(train, np.nan_to_num(train.earlier_to_validate), weights, prior, fold, seed)
        return Fit(tensors, held_out, earlier, FIELDS if prior else "")

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Returns the teacher's scores, as `laat` does."""
        return Laat().distil(data, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Returns probabilities (n, c), in numpy alone."""
        c = 2 if tensors["pair"][0] else len(tensors["bias1" if "bias1" in tensors else "bias0"])
        out: Floats = np.empty((len(vectors), c), np.float32)
        layers = {name: np.asarray(array, np.float32) for name, array in tensors.items()}
        for start in range(0, len(vectors), CHUNK_ROWS):
            x = (np.asarray(vectors[start : start + CHUNK_ROWS], np.float32) - layers["low"]) / layers["range"]
            logits: Floats = (x @ layers["weight0"] + layers["bias0"]).astype(np.float32)
            if "weight1" in layers:
                logits = np.maximum(logits, 0) @ layers["weight1"] + layers["bias1"]
            if tensors["pair"][0]:
                logits = np.hstack([np.zeros_like(logits), logits])
            out[start : start + CHUNK_ROWS] = probabilities(logits, bool(tensors["multiple"][0]))
        return out

    def _held_out(
        self, train: TrainingSet, targets: Floats, weights: Floats, prior: Tensors | None, fold: Ints, seed: int
    ) -> Floats:
        """Returns the probabilities (n, c) of each row by the fit without its fold."""
        out: Floats = np.empty_like(targets, dtype=np.float32)
        for f in np.unique(fold):
            in_fold = fold == f
            weights_outside = (weights * ~in_fold).astype(np.float32)
            out[in_fold] = self.predict(
                self._trained(train, targets, weights_outside, prior, seed), train.vectors[in_fold]
            )
        return out

    def _trained(
        self, train: TrainingSet, targets: Floats, weights: Floats, prior: Tensors | None, seed: int
    ) -> Tensors:
        """Returns the tensors of a fit on the rows with a weight above 0; zeros if there are none."""
        import torch

        is_used = weights > 0
        x, used_targets, row_weights = (
            np.asarray(train.vectors[is_used], np.float32),
            targets[is_used],
            weights[is_used],
        )
        d, c = train.vectors.shape[1], targets.shape[1]
        multiple = takes_several_labels(train.control)
        pair = not multiple and c == 2
        low = x.min(axis=0) if len(x) else np.zeros(d, np.float32)
        value_range = (x.max(axis=0) if len(x) else np.ones(d, np.float32)) - low
        value_range = np.where(value_range > 0, value_range, 1.0).astype(np.float32)
        goals = attribution_goals(prior, pair) if prior else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(d, 1 if pair else c, self.hidden)
            if len(x):
                inputs = torch.from_numpy(np.asarray((x - low) / value_range, np.float32))
                labels = torch.from_numpy(np.asarray(used_targets[:, 1:] if pair else used_targets, np.float32))
                _optimise(
                    network,
                    inputs,
                    labels,
                    torch.from_numpy(np.asarray(row_weights, np.float32)),
                    goals,
                    multiple or pair,
                )
            else:
                for parameter in network.parameters():
                    torch.nn.init.zeros_(parameter)
        layers = [module for module in network if isinstance(module, torch.nn.Linear)]
        tensors: Tensors = {
            "low": low.astype(np.float32), "range": value_range,
            "multiple": np.array([multiple]), "pair": np.array([pair]),
        }  # fmt: skip
        for i, layer in enumerate(layers):
            tensors[f"weight{i}"] = layer.weight.detach().numpy().T.copy()
            tensors[f"bias{i}"] = layer.bias.detach().numpy().copy()
        return tensors


def paper_mlp() -> LaatPaper:
    return LaatPaper(HIDDEN_UNITS)


def attribution_goals(prior: Tensors, pair: bool) -> Floats:
    """Returns the attributions that the loss draws to, as unit vectors t / |t| (heads, d); zeros where the teacher has
    given no scores."""
    scores = np.asarray(prior["scores"], np.float64)
    mean_scores = (np.sign(scores) * np.exp(np.abs(scores))).mean(axis=1)
    mean_scores = mean_scores[1:] - mean_scores[:1] if pair else mean_scores
    return np.asarray(mean_scores / np.maximum(np.linalg.norm(mean_scores, axis=1, keepdims=True), 1e-12), np.float32)


def loss(
    network: torch.nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    row_weights: torch.Tensor,
    goals: torch.Tensor | None,
    independent: bool,
) -> torch.Tensor:
    """Returns the paper's loss: inputs (n, d), labels (n, heads), row_weights (n,), goals (heads, d). `independent`:
    whether each head has a probability of its own (sigmoid) or all heads share one distribution (softmax)."""
    import torch
    from torch.nn import functional

    inputs = inputs.detach().requires_grad_(goals is not None)
    logits = network(inputs)
    if independent:
        row_losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1)
    else:
        row_losses = functional.cross_entropy(logits, labels, reduction="none")
    total = (row_weights * row_losses).sum() / row_weights.sum()
    for head, goal in enumerate(() if goals is None else goals):
        (gradients,) = torch.autograd.grad(logits[:, head].mean(), inputs, create_graph=True)
        attribution = gradients.sum(dim=0)  # the gradient of the mean logit is the sum over the rows
        unit_attribution = attribution / attribution.norm().clamp_min(1e-12)
        total = total + GAMMA * functional.mse_loss(unit_attribution, goal) / logits.shape[1]
    return total


def _optimise(
    network: torch.nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    row_weights: torch.Tensor,
    goals: Floats | None,
    independent: bool,
) -> None:
    """Minimises the loss by Adam."""
    import torch

    goal_tensor = torch.from_numpy(goals) if goals is not None and goals.any() else None
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        loss(network, inputs, labels, row_weights, goal_tensor, independent).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _network(d: int, heads: int, hidden: int) -> torch.nn.Sequential:
    import torch

    if not hidden:
        return torch.nn.Sequential(torch.nn.Linear(d, heads))
    return torch.nn.Sequential(torch.nn.Linear(d, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, heads))
