"""Filters the texts that a teacher wrote before they are labelled: drops empty texts, texts that are much shorter or
longer than the project's texts, and duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.types import content_key
from ml_backend.kinds.lookup import kind_of
from ml_backend.teacher.evolution.confusions import DUPLICATE_SIMILARITY
from ml_backend.teacher.evolution.generated_texts import (
    DUPLICATE_OF_TASK,
    DUPLICATE_OF_TEXT,
    EMPTY,
    WRONG_LENGTH,
    DroppedText,
    GeneratedText,
    text_vectors,
)
from ml_backend.teacher.project_context import ProjectContext

LENGTH_SAMPLE_SIZE = 2000
"""Number of the project's texts whose lengths are measured."""
LENGTH_PERCENTILES, LENGTH_TOLERANCE = (1, 99), 1.5
"""The percentiles of the lengths of the project's texts, and the factor by which a text may be shorter than the first
one, or longer than the second one."""
LENGTH_PERCENTILES_OF_MARKED_TEXTS = (5, 95)
"""The percentiles, without a tolerance, where parts of texts are marked: the number of parts grows with the length."""


def filter_texts(
    context: ProjectContext, texts: Sequence[GeneratedText], earlier: Sequence[GeneratedText]
) -> tuple[list[GeneratedText], list[DroppedText]]:
    """Splits `texts` into those that are kept and those that are dropped. `earlier`: texts kept in earlier rounds, of
    which a kept text must not be a duplicate."""
    dropped: list[DroppedText] = []
    shortest, longest = allowed_lengths(context)
    kept: list[GeneratedText] = []
    for text in texts:
        if not text.text:
            dropped.append(DroppedText(EMPTY, text.text))
        elif not shortest <= len(text.text) <= longest:
            dropped.append(DroppedText(WRONG_LENGTH, text.text))
        else:
            kept.append(text)
    if not kept:
        return [], dropped
    vectors = text_vectors(context.store, context.encoder, context.project_row.id, kept)
    earlier_vectors = text_vectors(context.store, context.encoder, context.project_row.id, earlier)
    is_task_duplicate = _is_like_a_task(context, kept, vectors)
    fresh: list[int] = []
    for row, vector in enumerate(vectors):
        similarities = np.concatenate([earlier_vectors @ vector, vectors[fresh] @ vector])
        if is_task_duplicate[row]:
            dropped.append(DroppedText(DUPLICATE_OF_TASK, kept[row].text))
        elif (similarities > DUPLICATE_SIMILARITY).any():
            dropped.append(DroppedText(DUPLICATE_OF_TEXT, kept[row].text))
        else:
            fresh.append(row)
    return [kept[row] for row in fresh], dropped


def allowed_lengths(context: ProjectContext) -> tuple[float, float]:
    """The shortest and the longest allowed length of a text in characters, from a sample of the project's texts."""
    task_ids = context.pool.tasks[~context.pool.synthetic]
    sample = np.random.default_rng(0).permutation(task_ids)[:LENGTH_SAMPLE_SIZE]
    texts = context.store.tasks.texts(context.project_row.id, sample.tolist())
    lengths = [len(text) for text in texts if text.strip()]
    if kind_of(context.control).part_name:
        low, high = np.percentile(lengths or [0], LENGTH_PERCENTILES_OF_MARKED_TEXTS)
        return float(low), float(high)
    low, high = np.percentile(lengths or [0], LENGTH_PERCENTILES)
    return float(low) / LENGTH_TOLERANCE, float(high) * LENGTH_TOLERANCE


def _is_like_a_task(context: ProjectContext, texts: Sequence[GeneratedText], vectors: Floats) -> list[bool]:
    """Whether each text duplicates a task. Compares content keys too, because a task may not be encoded yet."""
    _, matches = context.pool.rows_with([content_key(text.text) for text in texts])
    identical = set(matches.tolist())
    pool_vectors = context.pool.encoded_view().vectors
    is_near = np.asarray((pool_vectors @ vectors.T > DUPLICATE_SIMILARITY).any(axis=0))
    return [row in identical or bool(is_near[row]) for row in range(len(texts))]
