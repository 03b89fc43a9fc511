"""An encoder without weights that also gives a vector for each word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fake_encoder import FakeEncoder, bag_of_words

from ml_backend.core.arrays import Floats
from ml_backend.core.texts import WordVectors
from ml_backend.core.words import word_offsets

WORD_DIM = 12


class FakeWordEncoder(FakeEncoder):
    """The vector of a word depends on its hash alone."""

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        words = []
        for text in texts:
            starts, ends = word_offsets(text)
            tokens = [text[start:end].lower() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
            vectors = bag_of_words(tokens, WORD_DIM) if tokens else np.empty((0, WORD_DIM), np.float32)
            words.append(WordVectors(starts, ends, vectors.astype(np.float16)))
        return self.encode(texts), words
