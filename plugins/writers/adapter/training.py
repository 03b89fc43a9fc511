"""Fine-tunes an adapter, one step after another, in an order that a seed decides. A run that was stopped and continued
from its state gives the same weights, bit by bit, as one that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np

from plugins.writers.adapter.base_model import BaseModel
from plugins.writers.adapter.batches import EncodedPair, weighted_loss
from plugins.writers.adapter.lora import trainable_parameters
from plugins.writers.adapter.memory import BatchSize

MAX_GRADIENT_NORM = 1.0
WINDOW_BATCHES = 8
"""Batches whose pairs are drawn together and then sorted by length."""
FIRST_MOMENT, SECOND_MOMENT = "exp_avg", "exp_avg_sq"  # the names of torch
BETAS = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """epochs: passes over all pairs; batch_pairs: pairs of a step; learning_rate: of the first step, from which it
    falls to 0 linearly"""

    epochs: int
    seed: int = 0
    batch_pairs: int = 8
    learning_rate: float = 1e-3

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Training:
    """A run of fine-tuning at some step.

    model  the base model with its adapter, whose weights each step changes
    """

    def __init__(self, base: BaseModel, model: Any, pairs: Sequence[EncodedPair], plan: TrainingPlan) -> None:
        import torch

        self.step = 0
        self._base = base
        self._model = model
        self._pairs = pairs
        self._plan = plan
        self._batch_size = BatchSize(plan.batch_pairs)
        self._parameters = trainable_parameters(model)
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=plan.learning_rate, betas=BETAS, weight_decay=0.0
        )

    @property
    def n_steps(self) -> int:
        return self._plan.epochs * self._steps_per_epoch

    @property
    def _steps_per_epoch(self) -> int:
        return ceil(len(self._pairs) / self._plan.batch_pairs)

    def run_step(self) -> float:
        """Runs the next step, and returns its loss: the mean over the tokens of the accepted texts. Raises
        ApprenticeError if there is not enough memory for a single pair."""
        import torch

        batch = self._batch(self.step)
        total = sum(pair.weighted_tokens for pair in batch)
        losses: list[float] = []

        def restart() -> None:
            losses.clear()
            self._optimizer.zero_grad(set_to_none=True)

        def add_gradients(part: Sequence[EncodedPair]) -> None:
            loss = weighted_loss(self._base, self._model, part) / total
            loss.backward()
            losses.append(float(loss.detach()))

        restart()
        self._batch_size.run(add_gradients, batch, restart)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), MAX_GRADIENT_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * (1 - self.step / self.n_steps)
        self._optimizer.step()
        self.step += 1
        return sum(losses)

    def state(self) -> dict[str, Any]:
        """The parameters and the moments of the optimizer after `step` steps, as tensors."""
        tensors = {f"parameter.{name}": parameter.detach() for name, parameter in self._parameters.items()}
        for name, parameter in self._parameters.items():
            for moment in (FIRST_MOMENT, SECOND_MOMENT):
                if parameter in self._optimizer.state:
                    tensors[f"{moment}.{name}"] = self._optimizer.state[parameter][moment]
        return tensors

    def load_state(self, step: int, tensors: Mapping[str, Any]) -> None:
        """Goes to the state that `state` gave after `step` >= 1 steps."""
        import torch

        self.step = step
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"parameter.{name}"])
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    **{
                        moment: tensors[f"{moment}.{name}"].to(parameter.device).clone()
                        for moment in (FIRST_MOMENT, SECOND_MOMENT)
                    },
                }

    def _batch(self, step: int) -> list[EncodedPair]:
        """The pairs of a step, from an order of the pairs that is drawn anew for each epoch. Pairs of similar length
        come into one batch, because padding costs as much time as tokens."""
        epoch, position = divmod(step, self._steps_per_epoch)
        random = np.random.default_rng([self._plan.seed, epoch])
        order = random.permutation(len(self._pairs))
        size, window = self._plan.batch_pairs, self._plan.batch_pairs * WINDOW_BATCHES
        lengths = np.array([len(pair) for pair in self._pairs])
        parts = (order[start : start + window] for start in range(0, len(order), window))
        order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
        start = int(random.permutation(self._steps_per_epoch)[position]) * size
        return [self._pairs[row] for row in order[start : start + size]]
