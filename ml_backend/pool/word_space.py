"""The feature space of projects whose learners read the vectors of words: those of the texts, and of their words.

The space has a name of its own, because a text that was encoded before the project had such a learner has no vectors of
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_backend.core.arrays import Floats
from ml_backend.core.ports import WordEncoder
from ml_backend.core.texts import WordVectors
from ml_backend.pool.over_text_encoder import OverTextEncoder


@dataclass(frozen=True)
class WordSpaceEncoder(OverTextEncoder):
    """Encodes texts with their words. Otherwise it is the encoder of the texts."""

    text_encoder: WordEncoder

    @property
    def name(self) -> str:
        return f"words-{self.text_encoder.name}"

    @property
    def dim(self) -> int:
        return self.text_encoder.dim

    def encode(self, texts: Sequence[str]) -> Floats:
        return self.text_encoder.encode(texts)

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, Sequence[WordVectors]]:
        return self.text_encoder.encode_with_words(texts)

    def sketch(self, texts: Sequence[str]) -> Floats:
        return self.text_encoder.sketch(texts)
