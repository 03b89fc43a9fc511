"""The texts of tasks and the vectors of their words, as learners read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ml_backend.core.words import word_offsets

Ints = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]
Item = TypeVar("Item")
Layers = tuple[int, ...]
"""Layers of an encoder; what it says of words is the mean of their states after these."""


@dataclass(frozen=True, slots=True)
class WordVectors:
    """The words of one text, as `core.words.word_offsets` cuts it.

    starts, ends  (w,) the first character of each word, and the character behind it
    vectors       (w, e) float16: what an encoder says of the words in their context. e is 0 if it says nothing of words
    """

    starts: Ints
    ends: Ints
    vectors: Halves

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts, or records as text, of n tasks, read only for the rows (m,) that are needed.

    n           number of tasks
    read        gives the texts of some rows
    read_words  gives the words of the texts of some rows; None if no encoder gives vectors of words
    """

    n: int
    read: Callable[[Ints], Sequence[str]]
    read_words: Callable[[Ints], Sequence[WordVectors]] | None = None

    def __len__(self) -> int:
        return self.n

    def __call__(self, rows: Ints) -> Sequence[str]:
        """(m,) the texts of some rows."""
        return self.read(rows)

    def words(self, rows: Ints) -> Sequence[WordVectors]:
        """(m,) the words of some rows. All vectors have the same length."""
        if self.read_words is not None:
            return self.read_words(rows)
        return [words_without_vectors(text) for text in self.read(rows)]

    def kept(self) -> Texts:
        """The same texts, each of which is read once and then kept in memory. Words are not kept."""
        read, texts = self.read, dict[int, str]()

        def read_once(rows: Ints) -> list[str]:
            missing = [row for row in rows.tolist() if row not in texts]
            if missing:
                texts.update(zip(missing, read(np.array(missing)), strict=True))
            return [texts[row] for row in rows.tolist()]

        return Texts(self.n, read_once, self.read_words)

    def take(self, rows: Ints) -> Texts:
        """The texts of these rows alone."""
        read, read_words = self.read, self.read_words
        return Texts(
            len(rows),
            lambda taken: read(rows[taken]),
            None if read_words is None else lambda taken: read_words(rows[taken]),
        )


def texts_at(texts: Sequence[str], words: Sequence[WordVectors] | None = None) -> Texts:
    """The `Texts` of n tasks whose texts have been read and, if an encoder gives vectors of words, their words."""
    read_words = None if words is None else lambda rows: [words[row] for row in rows]
    return Texts(len(texts), lambda rows: [texts[row] for row in rows], read_words)


def join_texts(first: Texts, second: Texts) -> Texts:
    """The texts of the tasks of both, one after another. Both have words from the same encoder, or neither has."""

    def read(rows: Ints) -> list[str]:
        return _in_order(rows, len(first), first, second)

    def read_words(rows: Ints) -> list[WordVectors]:
        return _in_order(rows, len(first), first.words, second.words)

    return Texts(len(first) + len(second), read, read_words)


def _in_order(
    rows: Ints, n: int, first: Callable[[Ints], Sequence[Item]], second: Callable[[Ints], Sequence[Item]]
) -> list[Item]:
    """(m,) what `first` reads of the rows below n, and `second` of the others, which are n too high for it."""
    is_first = rows < n
    of_first, of_second = iter(first(rows[is_first])), iter(second(rows[~is_first] - n))
    return [next(of_first if below else of_second) for below in is_first]


def words_without_vectors(text: str) -> WordVectors:
    """The words of a text, with vectors of no numbers."""
    starts, ends = word_offsets(text)
    return WordVectors(starts, ends, np.empty((len(starts), 0), np.float16))
