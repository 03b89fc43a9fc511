"""The words of many texts, or other units that they are tagged in, one text after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.text_hashes import text_hashes
from ml_backend.core.texts import Texts
from ml_backend.core.words import word_offsets
from plugins.learners.crf.text_lengths import TextLengths
from plugins.learners.crf.units import Units, cut_words
from plugins.learners.crf.word_shapes import shape_numbers

CACHED_TEXTS = 20_000
MAX_CACHED_CHARACTERS = 1000  # of a text that is cached


@dataclass(frozen=True, slots=True)
class WordTable(TextLengths):
    """The w words of n texts, or the smaller units that take their place.

    lengths  (n,) words of each text
    starts, ends  (w,) the first character of each word, and the character behind it
    words    (w,) the words in lower case
    shapes   (w,) the numbers of their shapes, see `word_shapes`
    vectors  (w, e) what the encoder says of them; a smaller unit has the vector of its word
    units    what the texts are cut into; "word" means such a unit wherever a table is read
    """

    starts: Ints
    ends: Ints
    words: Sequence[str]
    shapes: Ints
    vectors: Floats
    units: Units = Units.WORDS

    def take(self, rows: Ints) -> tuple[WordTable, Ints]:
        """The words of some texts (m,), ascending, and the indices of these words."""
        words = np.flatnonzero(np.isin(self.texts, rows))
        part = WordTable(
            self.lengths[rows],
            self.starts[words],
            self.ends[words],
            [self.words[word] for word in words],
            self.shapes[words],
            self.vectors[words],
            self.units,
        )
        return part, words


def read_words(texts: Texts, rows: Ints, units: Units = Units.WORDS) -> WordTable:
    """The words of some of the texts (m,), or their smaller units."""
    of_texts = texts.words(rows)
    # the words of an extremely long text are not all encoded
    described = [
        _described(text, units).of_first_words(len(words)) for text, words in zip(texts(rows), of_texts, strict=True)
    ]
    return WordTable(
        lengths=np.array([len(text.names) for text in described], np.int64),
        starts=_joined([text.starts for text in described]),
        ends=_joined([text.ends for text in described]),
        words=[name for text in described for name in text.names],
        shapes=_joined([text.shapes for text in described]),
        vectors=_stack(
            [
                words.vectors if units == Units.WORDS else words.vectors[text.words]
                for words, text in zip(of_texts, described, strict=True)
            ]
        ),
        units=units,
    )


def content_numbers(table: WordTable) -> Ints:
    """(n,) a number of each text that depends on its words alone: texts that differ in case or in blanks are copies."""
    bounds = np.cumsum([0, *table.lengths]).tolist()
    return _numbers(table.words[begin:end] for begin, end in pairwise(bounds))


def text_numbers(texts: Sequence[str]) -> Ints:
    """(n,) the `content_numbers` of texts all of whose words are encoded."""
    return _numbers(_described(text, Units.WORDS).names for text in texts)


def _numbers(words: Iterable[Sequence[str]]) -> Ints:
    """(n,) a number of each text, from its words in lower case."""
    return text_hashes(map("\n".join, words)).view(np.int64)


def _stack(vectors: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float16]]]) -> Floats:
    return np.concatenate(vectors).astype(np.float32) if len(vectors) else np.empty((0, 0), np.float32)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


@dataclass(frozen=True, slots=True)
class _Units:
    """The u units of a text: in lower case; the numbers (u,) of their shapes; the first character (u,) of each, and the
    character (u,) behind it; and the word (u,) that each belongs to."""

    names: tuple[str, ...]
    shapes: Ints
    starts: Ints
    ends: Ints
    words: Ints

    def of_first_words(self, n: int) -> _Units:
        """The units of the first n words."""
        u = int(np.searchsorted(self.words, n))
        if u == len(self.names):
            return self
        return _Units(self.names[:u], self.shapes[:u], self.starts[:u], self.ends[:u], self.words[:u])


def _described(text: str, units: Units) -> _Units:
    return _describe(text, units) if len(text) <= MAX_CACHED_CHARACTERS else _describe.__wrapped__(text, units)


@lru_cache(CACHED_TEXTS)
def _describe(text: str, units: Units) -> _Units:
    """The units of a text."""
    word_starts, word_ends = (offsets.tolist() for offsets in word_offsets(text))
    starts, ends, words = cut_words(text, word_starts, word_ends, units)
    names = tuple(text[start:end].lower() for start, end in zip(starts, ends, strict=True))
    shapes = shape_numbers(text, starts, ends)
    return _Units(names, shapes, np.array(starts, np.int64), np.array(ends, np.int64), np.array(words, np.int64))
