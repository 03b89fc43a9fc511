"""LAAT as published: cross-entropy plus gamma times the distance of the attributions from the teacher's scores.

Vukadin, Silic, Delac, "Large Language Models as Attribution Regularizers for Efficient Model Training" (arXiv
2502.20268), section 3: L = BCE + gamma * MSE(a / |a|, t / |t|), where a is the gradient of the mean logit by the
inputs and t the mean over the estimates of sign(s) exp(|s|); gamma 100; inputs scaled to [0, 1] over the training rows;
Adam at 0.01 for 200 epochs; a logistic regression, or one layer of 100 ReLU units. With two labels the logit is that of
the second; with more, or several at once, each label has a head of its own. It is here to be compared with: at gamma
100 it hardly learns from labels. `laat` is what to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.types import DistillationData, Fit, Floats, Ints, Tensors, TrainingSet
from plugins.learners.calibration import CHUNK, probabilities
from plugins.learners.cross_validation import split
from plugins.learners.laat import FIELDS, Laat

if TYPE_CHECKING:
    import torch

GAMMA, RATE, EPOCHS, HIDDEN = 100.0, 1e-2, 200, 100


class LaatPaper:
    """Tensors: low (d,) and range (d,), of the inputs' scaling; weight0, bias0 and, with a hidden layer, weight1 and
    bias1; multiple (1,) bool, pair (1,) bool: one logit for two labels."""

    def __init__(self, hidden: int = 0) -> None:
        self._hidden = hidden

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits once on all rows and once without each fold; nothing is calibrated, as in the paper."""
        fold = split(train.targets, train.multiple, seed)
        known = train.priors.get(FIELDS)
        tensors = self._trained(train, train.targets, train.weights, known, seed)
        held_out = self._held_out(train, train.targets, train.weights, known, fold, seed)
        earlier = None
        if train.earlier_to_judge is not None:
            weights = train.weights * ~np.isnan(train.earlier_to_judge).any(axis=1)
            earlier = self._held_out(train, np.nan_to_num(train.earlier_to_judge), weights, known, fold, seed)
        return Fit(tensors, held_out, earlier, FIELDS if known else "")

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """The scores, as `laat` has them."""
        return Laat().distil(material, multiple, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) probabilities, in numpy alone."""
        c = 2 if tensors["pair"][0] else len(tensors["bias1" if "bias1" in tensors else "bias0"])
        out: Floats = np.empty((len(vectors), c), np.float32)
        layers = {name: np.asarray(array, np.float32) for name, array in tensors.items()}
        for start in range(0, len(vectors), CHUNK):
            x = (np.asarray(vectors[start : start + CHUNK], np.float32) - layers["low"]) / layers["range"]
            logits: Floats = (x @ layers["weight0"] + layers["bias0"]).astype(np.float32)
            if "weight1" in layers:
                logits = np.maximum(logits, 0) @ layers["weight1"] + layers["bias1"]
            if tensors["pair"][0]:
                logits = np.hstack([np.zeros_like(logits), logits])
            out[start : start + CHUNK] = probabilities(logits, bool(tensors["multiple"][0]))
        return out

    def _held_out(
        self, train: TrainingSet, targets: Floats, weights: Floats, known: Tensors | None, fold: Ints, seed: int
    ) -> Floats:
        out: Floats = np.empty_like(targets, dtype=np.float32)
        for number in np.unique(fold):
            mine = fold == number
            kept = (weights * ~mine).astype(np.float32)
            out[mine] = self.predict(self._trained(train, targets, kept, known, seed), train.vectors[mine])
        return out

    def _trained(
        self, train: TrainingSet, targets: Floats, weights: Floats, known: Tensors | None, seed: int
    ) -> Tensors:
        import torch

        used = weights > 0
        x, t, trust = np.asarray(train.vectors[used], np.float32), targets[used], weights[used]
        d, c = train.vectors.shape[1], targets.shape[1]
        pair = not train.multiple and c == 2
        low = x.min(axis=0) if len(x) else np.zeros(d, np.float32)
        spread = (x.max(axis=0) if len(x) else np.ones(d, np.float32)) - low
        spread = np.where(spread > 0, spread, 1.0).astype(np.float32)
        goals = attribution_goals(known, pair) if known else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _net(d, 1 if pair else c, self._hidden)
            if len(x):
                inputs = torch.from_numpy(np.asarray((x - low) / spread, np.float32))
                answers = torch.from_numpy(np.asarray(t[:, 1:] if pair else t, np.float32))
                _train(
                    net, inputs, answers, torch.from_numpy(np.asarray(trust, np.float32)), goals, train.multiple or pair
                )
            else:
                for parameter in net.parameters():
                    torch.nn.init.zeros_(parameter)
        layers = [each for each in net if isinstance(each, torch.nn.Linear)]
        found: Tensors = {
            "low": low.astype(np.float32), "range": spread,
            "multiple": np.array([train.multiple]), "pair": np.array([pair]),
        }  # fmt: skip
        for number, layer in enumerate(layers):
            found[f"weight{number}"] = layer.weight.detach().numpy().T.copy()
            found[f"bias{number}"] = layer.bias.detach().numpy().copy()
        return found


def paper_mlp() -> LaatPaper:
    return LaatPaper(HIDDEN)


def attribution_goals(known: Tensors, pair: bool) -> Floats:
    """(heads, d) the unit vectors t / |t|; zeros where the teacher has said nothing."""
    scores = np.asarray(known["scores"], np.float64)
    grown = (np.sign(scores) * np.exp(np.abs(scores))).mean(axis=1)
    grown = grown[1:] - grown[:1] if pair else grown
    return np.asarray(grown / np.maximum(np.linalg.norm(grown, axis=1, keepdims=True), 1e-12), np.float32)


def loss(
    net: torch.nn.Module,
    inputs: torch.Tensor,
    answers: torch.Tensor,
    trust: torch.Tensor,
    goals: torch.Tensor | None,
    independent: bool,
) -> torch.Tensor:
    """The paper's loss: inputs (n, d), answers (n, heads), trust (n,) the weight of each row, goals (heads, d)."""
    import torch
    from torch.nn import functional

    inputs = inputs.detach().requires_grad_(goals is not None)
    logits = net(inputs)
    if independent:
        each = functional.binary_cross_entropy_with_logits(logits, answers, reduction="none").mean(dim=1)
    else:
        each = functional.cross_entropy(logits, answers, reduction="none")
    total = (trust * each).sum() / trust.sum()
    for head, goal in enumerate(() if goals is None else goals):
        (by_row,) = torch.autograd.grad(logits[:, head].mean(), inputs, create_graph=True)
        attribution = by_row.sum(dim=0)  # of the mean logit, whose gradient each row has its part of
        unit = attribution / attribution.norm().clamp_min(1e-12)
        total = total + GAMMA * functional.mse_loss(unit, goal) / logits.shape[1]
    return total


def _train(
    net: torch.nn.Module,
    inputs: torch.Tensor,
    answers: torch.Tensor,
    trust: torch.Tensor,
    goals: Floats | None,
    independent: bool,
) -> None:
    import torch

    wanted = torch.from_numpy(goals) if goals is not None and goals.any() else None
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        loss(net, inputs, answers, trust, wanted, independent).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _net(d: int, heads: int, hidden: int) -> torch.nn.Sequential:
    import torch

    if not hidden:
        return torch.nn.Sequential(torch.nn.Linear(d, heads))
    return torch.nn.Sequential(torch.nn.Linear(d, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, heads))
