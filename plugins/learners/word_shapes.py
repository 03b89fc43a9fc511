"""The shape of words: case, digits, punctuation and length, of a word and of its neighbours.

The models that encode texts often know nothing of case, which names are recognised by.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ml_backend.core.arrays import Floats, Ints

SHAPES = 24
"""Features of a word by itself."""
COLUMNS = 3 * SHAPES
"""Features of a word, of the one before it and of the one after it."""
CACHED_WORDS = 100_000


@lru_cache(CACHED_WORDS)
def _shape(word: str) -> tuple[float, ...]:
    letters = sum(map(str.isalpha, word))
    digits = sum(map(str.isdigit, word))
    length = len(word)
    flags = (
        word.islower(), word[:1].isupper() and word[1:].islower(), word.isupper() and length > 1,
        any(map(str.isupper, word[1:])) and not word.isupper(), word.isdigit(), bool(digits), not letters + digits,
        "-" in word, "'" in word, "." in word, word.startswith("@"), word.startswith("#"), "_" in word, length == 1,
        length == 2, length == 3, 4 <= length <= 6, length >= 7, length == 1 and word.isupper(), letters == length,
        bool(digits and letters), not word.isascii(), word.lower().endswith("s"),
    )  # fmt: skip
    return (*map(float, flags), 0.0)


def word_shapes(words: Sequence[str], lengths: Ints) -> Floats:
    """(w, COLUMNS) the shapes of the words of n texts, one after another. lengths: (n,) words of each text"""
    shapes = np.array([_shape(word) for word in words], np.float32).reshape(-1, SHAPES)
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    shapes[starts, -1] = 1.0  # the first word of a text
    before, after = np.zeros_like(shapes), np.zeros_like(shapes)
    before[1:], after[:-1] = shapes[:-1], shapes[1:]
    before[starts] = 0.0
    after[np.append(starts[1:], len(shapes))[: len(starts)] - 1] = 0.0
    return np.hstack([shapes, before, after])
