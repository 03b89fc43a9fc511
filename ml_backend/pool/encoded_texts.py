"""Encodes texts for the vector cache: the vector of each text and, where learners read them, those of its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ml_backend.core.arrays import Floats, Mask
from ml_backend.core.ports import Encoder
from ml_backend.core.texts import Texts, WordVectors, texts_at
from ml_backend.core.types import content_key
from ml_backend.pool.checked_encoder import encode_usable, finite_vectors
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import Vectors
from ml_backend.storage.vectors import VectorReader

MAX_REMEMBERED_WORDS = 50_000  # encoded again and again otherwise; about 40 MB


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """The vectors (m, d) of texts, the mask (m,) of the finite ones, and the words of each text, None in a feature
    space without vectors of words."""

    vectors: Floats
    usable: Mask
    words: Sequence[WordVectors] | None = None


def encode_texts(encoder: Encoder, texts: Sequence[str]) -> EncodedTexts:
    """Encodes texts. Vectors of words that are not finite become zeros."""
    if not isinstance(encoder, WordSpaceEncoder):
        return EncodedTexts(*encode_usable(encoder.encode, texts))
    vectors, words = encoder.encode_with_words(texts)
    finite_words = [replace(of_text, vectors=np.nan_to_num(of_text.vectors)) for of_text in words]
    return EncodedTexts(*finite_vectors(vectors), finite_words)


def texts_in_space(encoder: Encoder, cache: Vectors, texts: Sequence[str]) -> Texts:
    """The texts, with their words in a feature space that has them. `cache`: the vectors of the encoder"""
    without_words = texts_at(texts)
    if not isinstance(encoder, WordSpaceEncoder):
        return without_words
    return WordReader(encoder, cache).add_words(without_words)


@dataclass(frozen=True)
class WordReader:
    """Reads the words of texts from memory or from the vector cache. Other texts are encoded, and the last ones of them
    are remembered.

    unwritten  words that are not in the cache yet, by content key
    """

    encoder: WordSpaceEncoder
    cache: VectorReader
    unwritten: Mapping[bytes, WordVectors] = field(default_factory=dict)
    _remembered: dict[bytes, WordVectors] = field(default_factory=dict)

    def snapshot(self) -> WordReader:
        """A reader of the words that are in memory or in the cache now, for another thread. Takes a time that does not
        depend on the size of the cache."""
        return WordReader(self.encoder, self.cache.snapshot(), dict(self.unwritten))

    def __call__(self, texts: Sequence[str]) -> list[WordVectors]:
        """(n,) the words of each text."""
        keys = [content_key(text) for text in texts]
        words = {key: self.unwritten[key] for key in keys if key in self.unwritten}
        positions = self.cache.find(keys)
        cached = np.flatnonzero(positions >= 0)
        words |= zip([keys[row] for row in cached], self.cache.read_words(positions[cached]), strict=True)
        words |= {key: self._remembered[key] for key in keys if key in self._remembered and key not in words}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in words}
        if missing:
            words |= self._encode(missing)
        return [words[key] for key in keys]

    def _encode(self, texts: Mapping[bytes, str]) -> dict[bytes, WordVectors]:
        """The words of texts by content key, which are encoded and remembered."""
        words = dict(zip(texts, encode_texts(self.encoder, list(texts.values())).words or (), strict=True))
        if sum(map(len, self._remembered.values())) >= MAX_REMEMBERED_WORDS:
            self._remembered.clear()
        self._remembered.update(words)
        return words

    def count(self, keys: Sequence[bytes]) -> int:
        """The number of words in the texts with these content keys, without texts that are not encoded yet."""
        in_memory = sum(len(self.unwritten[key]) for key in keys if key in self.unwritten)
        positions = self.cache.find([key for key in keys if key not in self.unwritten])
        return in_memory + self.cache.count_words(positions[positions >= 0])

    def add_words(self, texts: Texts) -> Texts:
        """The same texts with their words."""
        return Texts(texts.n, texts.read, lambda rows: self(texts(rows)))
