"""The words of many texts, one text after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.texts import Texts
from ml_backend.core.words import word_offsets
from plugins.learners.crf.word_shapes import shape_numbers

CACHED_TEXTS = 20_000
MAX_CACHED_CHARACTERS = 1000  # of a text that is cached


@dataclass(frozen=True, slots=True)
class WordTable:
    """The w words of n texts.

    lengths  (n,) words of each text
    starts, ends  (w,) the first character of each word, and the character behind it
    words    (w,) the words in lower case
    shapes   (w,) the numbers of their shapes, see `word_shapes`
    vectors  (w, e) what the encoder says of them
    """

    lengths: Ints
    starts: Ints
    ends: Ints
    words: Sequence[str]
    shapes: Ints
    vectors: Floats

    @property
    def first_words(self) -> Ints:
        """(n,) the first word of each text."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def texts(self) -> Ints:
        """(w,) the text of each word."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

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
        )
        return part, words


def read_words(texts: Texts, rows: Ints) -> WordTable:
    """The words of some of the texts (m,)."""
    of_texts = texts.words(rows)
    described = [_described(text) for text in texts(rows)]
    lengths = np.array([len(words) for words in of_texts], np.int64)
    return WordTable(
        lengths=lengths,
        starts=np.concatenate([np.empty(0, np.int64), *(words.starts for words in of_texts)]),
        ends=np.concatenate([np.empty(0, np.int64), *(words.ends for words in of_texts)]),
        # the words of an extremely long text are not all encoded
        words=[word for (words, _), n in zip(described, lengths, strict=True) for word in words[:n]],
        shapes=np.concatenate([np.empty(0, np.int64), *(s[:n] for (_, s), n in zip(described, lengths, strict=True))]),
        vectors=_stack([words.vectors for words in of_texts]),
    )


def content_numbers(table: WordTable) -> Ints:
    """(n,) a number of each text that depends on its words alone: texts that differ in case or in blanks are copies."""
    bounds = np.cumsum([0, *table.lengths]).tolist()
    return _numbers(table.words[begin:end] for begin, end in pairwise(bounds))


def text_numbers(texts: Sequence[str]) -> Ints:
    """(n,) the `content_numbers` of texts all of whose words are encoded."""
    return _numbers(_described(text)[0] for text in texts)


def _numbers(words: Iterable[Sequence[str]]) -> Ints:
    """(n,) a number of each text, from its words in lower case."""
    contents = ("\n".join(of_text).encode("utf-8", "surrogatepass") for of_text in words)
    digests = b"".join(blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(digests, "<i8").astype(np.int64)


def _stack(vectors: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float16]]]) -> Floats:
    return np.concatenate(vectors).astype(np.float32) if len(vectors) else np.empty((0, 0), np.float32)


def _described(text: str) -> tuple[tuple[str, ...], Ints]:
    return _describe(text) if len(text) <= MAX_CACHED_CHARACTERS else _describe.__wrapped__(text)


@lru_cache(CACHED_TEXTS)
def _describe(text: str) -> tuple[tuple[str, ...], Ints]:
    """The words of a text in lower case, and the numbers of their shapes."""
    starts, ends = (offsets.tolist() for offsets in word_offsets(text))
    words = (text[start:end].lower() for start, end in zip(starts, ends, strict=True))
    return tuple(words), shape_numbers(text, starts, ends)
