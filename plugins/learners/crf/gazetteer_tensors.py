"""Stores a gazetteer as tensors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints, Tensors
from plugins.learners.crf.gazetteer import Gazetteer

WORDS, WORD_COUNTS = "gazetteer.words", "gazetteer.word_counts"
PHRASES, PHRASE_COUNTS = "gazetteer.phrases", "gazetteer.phrase_counts"
TEXTS, SPANS = "gazetteer.texts", "gazetteer.spans"
"""Names of the tensors. The last two are (c, 2), the number of a counted text's words and how many spans it has; and
(s, 3), all of their spans."""


def to_tensors(gazetteer: Gazetteer) -> Tensors:
    """The gazetteer as tensors, in alphabetical order, because the order of the texts would quote them. Words have no
    blanks in them."""
    words, phrases = sorted(gazetteer.rows), sorted(gazetteer.phrase_rows)
    texts = [(number, spans) for number, of_texts in sorted(gazetteer.counted_spans.items()) for spans in of_texts]
    return {
        WORDS: _as_bytes("\n".join(words)),
        WORD_COUNTS: gazetteer.word_counts[[gazetteer.rows[word] for word in words]].astype(np.float32),
        PHRASES: _as_bytes("\n".join(map(" ".join, phrases))),
        PHRASE_COUNTS: gazetteer.phrase_counts[[gazetteer.phrase_rows[phrase] for phrase in phrases]].astype(
            np.float32
        ),
        TEXTS: np.array([(number, len(spans)) for number, spans in texts], np.int64).reshape(-1, 2),
        SPANS: np.array([span for _, spans in texts for span in spans], np.int32).reshape(-1, 3),
    }


def from_tensors(tensors: Tensors) -> Gazetteer:
    """The inverse of `to_tensors`."""
    words, phrases = (bytes(tensors[name]).decode("utf-8", "surrogatepass").split("\n") for name in (WORDS, PHRASES))
    word_counts, phrase_counts = (tensors[name].astype(np.float64) for name in (WORD_COUNTS, PHRASE_COUNTS))
    rows = {word: row for row, word in enumerate(words[: len(word_counts)])}
    phrase_rows = {tuple(phrase.split(" ")): row for row, phrase in enumerate(phrases[: len(phrase_counts)])}
    numbers, counts = np.asarray(tensors[TEXTS], np.int64).T
    spans = list(map(tuple, tensors[SPANS].tolist()))
    counted_spans: dict[int, list[list[tuple[int, int, int]]]] = {}
    for number, (begin, end) in zip(numbers.tolist(), pairwise(np.cumsum([0, *counts]).tolist()), strict=True):
        counted_spans.setdefault(number, []).append(spans[begin:end])
    return Gazetteer(word_counts, rows, phrase_counts, phrase_rows, counted_spans)


def counted_texts(tensors: Tensors) -> Ints:
    """(c,) the numbers of the words of the texts that a stored gazetteer counts."""
    return np.asarray(tensors[TEXTS][:, 0], np.int64)


def _as_bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
