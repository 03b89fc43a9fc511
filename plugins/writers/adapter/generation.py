"""Generates drafts in batches, greedily, with the doubt of the model in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from plugins.writers.adapter.base_model import BaseModel
from plugins.writers.adapter.batches import pad_left
from plugins.writers.adapter.memory import BatchSize
from plugins.writers.adapter.prompts import MAX_PAIR_TOKENS, Prompts
from plugins.writers.adapter.replies import cleaned_reply

BATCH_ROWS = 16
Demonstrations = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A draft for the source in a row.

    text   "" where the model has none: the source is too long for it, or the reply had not ended where it was cut off
    doubt  1 - exp(the mean log-probability of the draft's tokens); 0 for a source that is too long, because an
           annotation of it would teach the model nothing
    """

    row: int
    text: str
    doubt: float


def generate(
    base: BaseModel,
    model: Any,
    prompts: Prompts,
    sources: Sequence[str],
    *,
    demonstrations: Sequence[Demonstrations] | None = None,
    may_continue: Callable[[], bool] = lambda: True,
) -> Iterator[GeneratedText]:
    """Yields a draft for each source, batch by batch, short prompts first.

    demonstrations  for each source, pairs of a source and its accepted text that the model is shown
    may_continue    called before each token; a False stops the generation and drops the current batch

    Raises ApprenticeError if memory does not suffice for a single source.
    """
    shown: Sequence[Demonstrations] = demonstrations or [()] * len(sources)
    tokens = [prompts.prompt(source, pairs) for source, pairs in zip(sources, shown, strict=True)]
    limit = MAX_PAIR_TOKENS * (1 + max(map(len, shown), default=0))
    order = sorted(range(len(sources)), key=lambda row: len(tokens[row]))
    for row in order:
        if len(tokens[row]) > limit or not sources[row].strip():
            yield GeneratedText(row, "", 0.0)
    order = [row for row in order if len(tokens[row]) <= limit and sources[row].strip()]
    size = BatchSize(BATCH_ROWS)
    replies: list[tuple[list[int], float]] = []

    def add_replies(rows: Sequence[int]) -> None:
        asked = [(tokens[row], prompts.max_new_tokens(sources[row])) for row in rows]
        replies.extend(_replies(base, model, asked, may_continue))

    while order and may_continue():
        rows, order = order[:BATCH_ROWS], order[BATCH_ROWS:]
        replies.clear()
        size.run(add_replies, rows, replies.clear)
        if not may_continue():
            return
        for row, (reply, mean_log_probability) in zip(rows, replies, strict=True):
            ends = bool(reply) and reply[-1] in base.end_tokens
            text = prompts.tokenizer.decode(reply, skip_special_tokens=True) if ends else ""
            yield GeneratedText(row, cleaned_reply(text, sources[row]), 1 - exp(mean_log_probability))


def _replies(
    base: BaseModel, model: Any, prompts: Sequence[tuple[Sequence[int], int]], may_continue: Callable[[], bool]
) -> list[tuple[list[int], float]]:
    """For each prompt with its maximum number of new tokens, the tokens of the reply, up to the one that ends it, and
    the mean of their log-probabilities."""
    import torch
    from transformers import GenerationConfig

    tokens, mask = pad_left([prompt for prompt, _ in prompts], base.device)
    limits = torch.tensor([limit for _, limit in prompts], device=base.device)
    start = 1 if base.is_seq2seq else tokens.shape[1]
    log_probabilities: list[Any] = []

    def record(ids: Any, logits: Any) -> Any:
        """The greedy choice has the highest of the log-probabilities."""
        log_probabilities.append(logits.float().log_softmax(-1).amax(-1))
        return logits

    def is_done(ids: Any, scores: Any, **options: Any) -> Any:
        return (limits <= ids.shape[1] - start) | (not may_continue())

    of_model = base.model.generation_config
    ends = sorted(base.end_tokens)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=int(limits.max()),
        eos_token_id=ends,
        pad_token_id=ends[0],
        bos_token_id=of_model.bos_token_id,
        decoder_start_token_id=getattr(base.model.config, "decoder_start_token_id", None),
    )
    with torch.no_grad():
        ids = model.generate(
            input_ids=tokens,
            attention_mask=mask,
            generation_config=config,
            logits_processor=[record],
            stopping_criteria=[is_done],
        )
    chosen = torch.stack(log_probabilities, dim=1).cpu()
    replies = []
    for row, (_, limit) in enumerate(prompts):
        reply = ids[row, start:].tolist()[:limit]
        length = next((n + 1 for n, token in enumerate(reply) if token in base.end_tokens), len(reply))
        replies.append((reply[:length], float(chosen[row, :length].mean())))
    return replies
