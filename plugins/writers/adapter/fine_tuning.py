"""Fine-tunes the adapter of a language model on accepted texts, from the last checkpoint if there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_backend.core.arrays import Tensors
from ml_backend.core.exceptions import ApprenticeError
from plugins.writers.adapter.base_model import BaseModel
from plugins.writers.adapter.batches import EncodedPair
from plugins.writers.adapter.checkpoint import Checkpoint, fingerprint
from plugins.writers.adapter.lora import adapter_tensors, load_adapter, with_adapter
from plugins.writers.adapter.prompts import MAX_PAIR_TOKENS, Prompts
from plugins.writers.adapter.training import Training, TrainingPlan

MILESTONES = (50, 100, 200, 400)
"""Numbers of accepted texts at which the adapter is fine-tuned."""
FIRST_EPOCHS, LATER_EPOCHS = 4, 2
STEPS_BETWEEN_CHECKPOINTS = 5


def milestone(n_accepted: int) -> int:
    """The last milestone that n accepted texts have reached, 0 if none."""
    return max((number for number in MILESTONES if number <= n_accepted), default=0)


def epochs_from(earlier: Tensors | None) -> int:
    """The epochs of a run that starts from an earlier adapter, or from none."""
    return FIRST_EPOCHS if earlier is None else LATER_EPOCHS


def encoded_pairs(
    prompts: Prompts, sources: Sequence[str], accepted: Sequence[str], weights: Sequence[float]
) -> list[EncodedPair]:
    """The pairs as tokens, without those that are empty or longer than MAX_PAIR_TOKENS."""
    pairs = (
        EncodedPair(prompts.prompt(source), prompts.target(text.strip()), weight)
        for source, text, weight in zip(sources, accepted, weights, strict=True)
        if source.strip() and text.strip()
    )
    return [pair for pair in pairs if len(pair) <= MAX_PAIR_TOKENS]


def fine_tune(
    base: BaseModel,
    pairs: Sequence[EncodedPair],
    plan: TrainingPlan,
    checkpoint_file: Path,
    *,
    earlier: Tensors | None = None,
    may_continue: Callable[[int, int, float], bool] = lambda step, n_steps, loss: True,
) -> tuple[Any, Tensors] | None:
    """Adds an adapter to a base model and trains it on at least one pair.

    earlier       the adapter to start from; None: a new one
    may_continue  called after each step with its number, the number of steps and the loss; a False stops the run

    Returns the model and the adapter's tensors; None if the run was stopped, which can then be continued. Raises
    ApprenticeError if memory does not suffice, or if no pair can be trained on.
    """
    if not pairs:
        raise ApprenticeError(
            f"The adapter has nothing to learn from: all accepted texts are empty or, with their sources, longer than "
            f"{MAX_PAIR_TOKENS} tokens."
        )
    model = with_adapter(base, plan.seed)
    if earlier is not None:
        load_adapter(base, model, earlier)
    training = Training(base, model, pairs, plan)
    checkpoint = Checkpoint(checkpoint_file, fingerprint(base.digest, pairs, plan, earlier))
    checkpoint.restore(training)
    while training.step < training.n_steps:
        loss = training.run_step()
        is_last = training.step == training.n_steps
        if not may_continue(training.step, training.n_steps, loss) and not is_last:
            checkpoint.write(training)
            return None
        if is_last or training.step % STEPS_BETWEEN_CHECKPOINTS == 0:
            checkpoint.write(training)
    tensors = adapter_tensors(base, model)
    return model, tensors
