"""The distance of two texts in words: the fewest words that are inserted, deleted or replaced to make one of the other.

Words are those of `core.words`, so that punctuation counts and blanks do not; the letter case counts. The distance is
that of Levenshtein (1966) over words, computed by rapidfuzz, which compares the hashes of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq, Levenshtein

from ml_backend.core.words import words_of

Doubles = npt.NDArray[np.float64]
CACHED_TEXTS = 20_000
MAX_CACHED_CHARACTERS = 1000  # of a text that is cached


def word_edits(text: str, other: str) -> int:
    """The number of words to edit in one text to get the other."""
    return Levenshtein.distance(words_of(text), words_of(other))


def kept_words(text: str, other: str) -> int:
    """The number of words of a longest common subsequence: those that stay if one text is edited to get the other."""
    return LCSseq.similarity(words_of(text), words_of(other))


def closeness(text: str, other: str) -> float:
    """1 - `word_edits` / the number of words of the longer text, in [0, 1]; 1 for two texts without words."""
    return Levenshtein.normalized_similarity(words_of(text), words_of(other))


def closeness_matrix(texts: Sequence[str], others: Sequence[str]) -> Doubles:
    """(n, m) the closeness of each of n texts to each of m others."""
    words, other_words = [_words(text) for text in texts], [_words(text) for text in others]
    rows = [[Levenshtein.normalized_similarity(row, column) for column in other_words] for row in words]
    return np.array(rows, np.float64).reshape(len(words), len(other_words))


def nearest_closeness(texts: Sequence[str], others: Sequence[Sequence[str]]) -> Doubles:
    """(n,) the closeness of each of n texts to the nearest of its own `others`, 0 if it has none."""
    pairs = zip(texts, others, strict=True)
    return np.array([closeness_matrix([text], row).max(initial=0.0) for text, row in pairs], np.float64)


def _words(text: str) -> Sequence[str]:
    """The words of a text. They are cached, because each fit compares its drafts with all accepted texts again."""
    return _cached_words(text) if len(text) <= MAX_CACHED_CHARACTERS else words_of(text)


@lru_cache(CACHED_TEXTS)
def _cached_words(text: str) -> tuple[str, ...]:
    return tuple(words_of(text))
