"""Pads prompts with their accepted texts to a batch, and computes the loss on the accepted texts alone."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plugins.writers.adapter.base_model import BaseModel

MIN_SHARED_TOKENS = 8
"""Tokens at the beginning of all prompts from which it is worth a pass of its own to compute them once."""
IGNORED = -100  # in the place of a token that does not count in the loss


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A prompt and the text that was accepted, as tokens. `weight`: how much the pair counts, > 0."""

    prompt: Sequence[int]
    target: Sequence[int]
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)

    @property
    def weighted_tokens(self) -> float:
        return self.weight * len(self.target)


def pad_left(sequences: Sequence[Sequence[int]], device: str) -> tuple[Any, Any]:
    """(n, longest) the tokens of n sequences, each at the right end of its row, and the mask of the tokens."""
    import torch

    longest = max(map(len, sequences))
    tokens = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, sequence in enumerate(sequences):
        tokens[row, longest - len(sequence) :] = torch.tensor(sequence)
        mask[row, longest - len(sequence) :] = 1
    return tokens.to(device), mask.to(device)


def weighted_loss(base: BaseModel, model: Any, pairs: Sequence[EncodedPair]) -> Any:
    """The sum over the tokens of all targets of their negative log-likelihoods times the weights of the pairs.

    model  the base model with its adapter
    """
    import torch

    weights = torch.tensor([pair.weight for pair in pairs], device=base.device)
    logits, labels = (_seq2seq_logits if base.is_seq2seq else _causal_logits)(base, model, pairs)
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return (losses.view(labels.shape).sum(1) * weights).sum()


def _causal_logits(base: BaseModel, model: Any, pairs: Sequence[EncodedPair]) -> tuple[Any, Any]:
    """The logits (n, t, vocabulary) of the last t tokens of each row, and the labels (n, t). The tokens that all
    prompts begin with are computed once."""
    import torch

    sequences = [[*pair.prompt, *pair.target] for pair in pairs]
    parameters = inspect.signature(base.model.forward).parameters
    n_shared = _shared_length([pair.prompt for pair in pairs])
    options: dict[str, Any] = {"use_cache": False}
    if n_shared >= MIN_SHARED_TOKENS and "past_key_values" in parameters:
        cache = model(input_ids=torch.tensor([sequences[0][:n_shared]], device=base.device), use_cache=True)
        cache = cache.past_key_values
        cache.batch_repeat_interleave(len(pairs))
        options = {"use_cache": True, "past_key_values": cache}
    else:
        n_shared = 0
    tokens, mask = pad_left([sequence[n_shared:] for sequence in sequences], base.device)
    longest_target = max(len(pair.target) for pair in pairs)
    if "position_ids" in parameters:  # the padding takes no positions
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0) + n_shared
    if "logits_to_keep" in parameters:  # the vocabulary's layer is a fifth of a small model
        options["logits_to_keep"] = longest_target + 1
    mask = torch.cat([torch.ones(len(pairs), n_shared, dtype=mask.dtype, device=base.device), mask], dim=1)
    logits = model(input_ids=tokens, attention_mask=mask, **options).logits
    labels = tokens[:, -longest_target:].clone()
    for row, pair in enumerate(pairs):
        labels[row, : longest_target - len(pair.target)] = IGNORED
    return logits[:, -longest_target - 1 : -1], labels


def _shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """The number of tokens that all of several prompts begin with, without the last token of the shortest one, which
    predicts the first token of its target; 0 for a single prompt."""
    if len(prompts) == 1:
        return 0
    shortest = min(map(len, prompts))
    first = prompts[0]
    differing = (n for n in range(shortest) if any(prompt[n] != first[n] for prompt in prompts))
    return min(next(differing, shortest), shortest - 1)


def _seq2seq_logits(base: BaseModel, model: Any, pairs: Sequence[EncodedPair]) -> tuple[Any, Any]:
    import torch

    tokens, mask = pad_left([pair.prompt for pair in pairs], base.device)
    longest_target = max(len(pair.target) for pair in pairs)
    labels = torch.full((len(pairs), longest_target), IGNORED)
    for row, pair in enumerate(pairs):
        labels[row, : len(pair.target)] = torch.tensor(pair.target)
    labels = labels.to(base.device)
    return model(input_ids=tokens, attention_mask=mask, labels=labels, use_cache=False).logits, labels
