"""The shape of words: case, digits, punctuation and length, of a word and of its neighbours.

The models that encode texts often know nothing of case, by which names are recognised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ml_backend.core.arrays import Floats, Ints

SHAPES = 27
"""Features of a word by itself."""
COLUMNS = 3 * SHAPES
"""Features of a word, of the one before it and of the one after it."""
CHUNK = re.compile(r"\S+")
"""What stands between two blanks."""
MAX_CHUNK = 50  # characters of a chunk that are looked at
CACHED_WORDS = 100_000


def shape_numbers(text: str, starts: Sequence[int], ends: Sequence[int]) -> Ints:
    """(w,) the shapes of a text's words, from their first characters and those behind them. The bits of a number are
    the features of a word by itself."""
    chunks, numbers = iter([match.span() for match in CHUNK.finditer(text)]), []
    chunk_start, chunk_end = 0, 0
    for start, end in zip(starts, ends, strict=True):
        while chunk_end <= start:
            chunk_start, chunk_end = next(chunks)
        shape = (
            *_shape(text[start:end]), *_chunk_shape(text[chunk_start : min(chunk_end, chunk_start + MAX_CHUNK)]),
            start > chunk_start, end < chunk_end, start == starts[0],
        )  # fmt: skip
        numbers.append(sum(1 << bit for bit, is_set in enumerate(shape) if is_set))
    return np.array(numbers, np.int64)


@lru_cache(CACHED_WORDS)
def _shape(word: str) -> tuple[bool, ...]:
    letters = sum(map(str.isalpha, word))
    digits = sum(map(str.isdigit, word))
    length = len(word)
    return (
        word.islower(), word[:1].isupper() and word[1:].islower(), word.isupper() and length > 1,
        any(map(str.isupper, word[1:])) and not word.isupper(), word.isdigit(), bool(digits), not letters + digits,
        "_" in word, length == 1, length == 2, length == 3, 4 <= length <= 6, length >= 7,
        length == 1 and word.isupper(), letters == length, bool(digits and letters), not word.isascii(),
        word.lower().endswith("s"),
    )  # fmt: skip


@lru_cache(CACHED_WORDS)
def _chunk_shape(chunk: str) -> tuple[bool, ...]:
    """The shape of what stands between two blanks: a word, or several with punctuation."""
    return (
        chunk[:1] == "@", chunk[:1] == "#", "://" in chunk or chunk[:4] == "www.", "-" in chunk,
        not {"'", "\N{RIGHT SINGLE QUOTATION MARK}"}.isdisjoint(chunk), "." in chunk[:-1],
    )  # fmt: skip


def shape_bits(numbers: Ints) -> Floats:
    """(w, SHAPES) the features of words by themselves. numbers: (w,) their shapes, from `shape_numbers`"""
    return ((numbers[:, None] >> np.arange(SHAPES)) & 1).astype(np.float32)


def word_shapes(numbers: Ints, lengths: Ints) -> Floats:
    """(w, COLUMNS) the features of the words of n texts, one after another.

    numbers  (w,) their shapes, from `shape_numbers`
    lengths  (n,) words of each text
    """
    shapes = shape_bits(numbers)
    return np.hstack([shapes, *neighbours(shapes, lengths)])


def neighbours(values: Floats, lengths: Ints) -> tuple[Floats, Floats]:
    """The values (w, d) of the word before and of the word after each word of n texts; 0 where there is none."""
    return of_previous(values, lengths), of_next(values, lengths)


def of_previous(values: Floats, lengths: Ints) -> Floats:
    """The values (w, d) of the word before each word of n texts, 0 for first words."""
    previous = np.zeros_like(values)
    previous[1:] = values[:-1]
    previous[(np.cumsum(lengths) - lengths)[lengths > 0]] = 0.0
    return previous


def of_next(values: Floats, lengths: Ints) -> Floats:
    """The values (w, d) of the word after each word of n texts, 0 for last words."""
    following = np.zeros_like(values)
    following[:-1] = values[1:]
    following[np.cumsum(lengths)[lengths > 0] - 1] = 0.0
    return following
