"""Shortens questions to the tokens that a teacher reads and writes in a call, its context."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import BYTES_PER_TOKEN, REASONING_TOKENS, Question

REQUEST_OVERHEAD_BYTES = 1000
"""Bytes of a request in addition to the content of the question; with several fields, for each of them, because the
request may ask how probable the labels of each field are."""
MIN_REPLY_TOKENS = 250
"""Tokens of the reply that are asked for even if the question leaves no room for them."""
Content = TypeVar("Content")


def max_prompt_tokens(question: Question) -> float:
    """The maximum number of tokens of the request for a question, with its JSON schema."""
    prompt = [question.instructions, question.text, question.examples, question.reply]
    overhead = REQUEST_OVERHEAD_BYTES * max(len(question.fields), 1)
    return (len(json.dumps(prompt, ensure_ascii=False).encode("utf-8", "replace")) + overhead) / BYTES_PER_TOKEN


def context_tokens(options: ProjectSettings) -> int:
    """The number of tokens that a question and its reply may have together, 0 if it is unknown."""
    reasoning = REASONING_TOKENS if options.teacher == registry.BATCH_TEACHER else 0
    return max(options.teacher_context - reasoning, 1) if options.teacher_context else 0


def first_fitting(
    contents: Iterable[Content], question_of: Callable[[Content], Question], tokens: int
) -> tuple[Content, Question]:
    """The first of the contents whose question fits into a context of so many tokens, and the question; the first one
    if `tokens` is 0. If none fits, the last one, and the reply gets the tokens that are left.

    contents  at least one, each shorter than the one before
    """
    for content in contents:
        question = question_of(content)
        if not tokens or max_prompt_tokens(question) + question.longest <= tokens:
            return content, question
    left = max(int(tokens - max_prompt_tokens(question)), MIN_REPLY_TOKENS)
    return content, replace(question, longest=min(question.longest, left))


def with_fitting_examples(question: Question, tokens: int) -> Question:
    """The question without its longest few-shot examples, as far as it does not fit into a context of so many
    tokens."""
    return first_fitting(
        without_longest(question.examples, lambda example: sum(map(len, example))),
        lambda examples: replace(question, examples=tuple(examples)),
        tokens,
    )[1]


def without_longest(
    items: Sequence[Content], length: Callable[[Content], int], at_least: int = 0
) -> Iterator[Sequence[Content]]:
    """Yields the items, and then again and again those that are left without the longest one, until `at_least` are
    left."""
    yield items
    while len(items) > at_least:
        longest = max(range(len(items)), key=lambda i: length(items[i]))
        items = [*items[:longest], *items[longest + 1 :]]
        yield items
