"""The writer `nearest`: drafts the text that was accepted for the most similar source."""

from __future__ import annotations

import json

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Tensors
from ml_backend.core.text_drafts import AcceptedTexts, TextDrafts
from ml_backend.core.texts import Texts
from plugins.learners.crf.word_table import text_numbers
from plugins.learners.model_cache import ModelCache

VECTORS, TEXTS, NUMBERS = "vectors", "texts", "numbers"
"""Names of tensors: the vectors (n, d) of the sources, the accepted texts as JSON, and the numbers of the sources'
words."""
ROWS_PER_BATCH = 1000


def _read_texts(tensors: Tensors) -> list[str]:
    """(n,) the accepted texts."""
    texts: list[str] = json.loads(bytes(tensors[TEXTS]))
    return texts


read_texts_once = ModelCache(_read_texts)


class Nearest:
    """Compares the vectors of sources. The confidence is the similarity, and the doubt what it lacks to 1."""

    min_kept_share = 0.0

    def fit(self, accepted: AcceptedTexts, earlier: Tensors | None) -> Tensors:
        """Keeps the accepted texts, whatever their weights."""
        return {
            VECTORS: np.asarray(accepted.vectors, np.float32),
            TEXTS: np.frombuffer(json.dumps([*accepted.texts]).encode(), np.uint8),
            NUMBERS: _numbers(accepted.sources),
        }

    def draft(self, tensors: Tensors, sources: Texts, vectors: Floats, *, held_out: bool = False) -> TextDrafts:
        """Of the most similar sources the first one counts. A draft is "" if there is no other source."""
        accepted, numbers = read_texts_once(tensors), np.asarray(tensors[NUMBERS], np.int64)
        of_sources = np.asarray(tensors[VECTORS], np.float32)
        own_numbers = _numbers(sources) if held_out else None
        nearest, similarities = np.zeros(len(sources), np.int64), np.zeros(len(sources))
        for start in range(0, len(sources), ROWS_PER_BATCH):
            rows = slice(start, start + ROWS_PER_BATCH)
            products = np.asarray(vectors[rows], np.float32) @ of_sources.T
            if own_numbers is not None:
                products[own_numbers[rows, None] == numbers] = -np.inf
            nearest[rows] = products.argmax(axis=1)
            similarities[rows] = products.max(axis=1)
        is_found = np.isfinite(similarities)
        confidences = np.where(is_found, np.clip(similarities, 0.0, 1.0), 0.0)
        texts = [accepted[row] if found else "" for row, found in zip(nearest.tolist(), is_found, strict=True)]
        return TextDrafts(texts, confidences, 1 - confidences)


def _numbers(sources: Texts) -> Ints:
    return text_numbers(sources(np.arange(len(sources))))
