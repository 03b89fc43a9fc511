"""The feature space of projects whose learners read the vectors of words: those of the texts, and of their words.

The space has a name of its own, because a text that was encoded before the project had such a learner has no vectors of
words. The name says after which layers of the model words are read, if these are not those of the encoder itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_backend.core.arrays import Floats
from ml_backend.core.ports import LayeredWordEncoder, WordEncoder
from ml_backend.core.texts import Layers, WordVectors
from ml_backend.pool.over_text_encoder import OverTextEncoder


@dataclass(frozen=True)
class WordSpaceEncoder(OverTextEncoder):
    """Encodes texts with their words. Otherwise it is the encoder of the texts.

    layers  those after which words are read; () for those of the encoder itself, which need not be a
            `LayeredWordEncoder` then
    """

    text_encoder: WordEncoder
    layers: Layers = ()

    @property
    def name(self) -> str:
        suffix = "-".join(["-layers", *map(str, self.layers)]) if self.layers else ""
        return f"words-{self.text_encoder.name}{suffix}"

    @property
    def dim(self) -> int:
        return self.text_encoder.dim

    @property
    def layered(self) -> LayeredWordEncoder | None:
        """The encoder of the texts if it offers several layers."""
        return self.text_encoder if isinstance(self.text_encoder, LayeredWordEncoder) else None

    def encode(self, texts: Sequence[str]) -> Floats:
        return self.text_encoder.encode(texts)

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, Sequence[WordVectors]]:
        if self.layers and (layered := self.layered) is not None:
            vectors, [words] = layered.encode_with_layers(texts, [self.layers])
            return vectors, words
        return self.text_encoder.encode_with_words(texts)

    def sketch(self, texts: Sequence[str]) -> Floats:
        return self.text_encoder.sketch(texts)
