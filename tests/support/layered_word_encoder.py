"""An encoder without weights, of whose layers one says of a word whether it is a name, and the others say nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fake_word_encoder import WORD_DIM, FakeWordEncoder

from ml_backend.core.arrays import Floats
from ml_backend.core.texts import Layers, WordVectors
from ml_backend.core.words import word_offsets

GOOD: Layers = (5,)


def sentence(n: int) -> tuple[str, tuple[int, int] | None]:
    """A sentence of words that occur nowhere else, and the characters of the name in it; one in three has none."""
    random = np.random.default_rng(n)
    words = [f"w{number}" for number in random.integers(1000, 9999, 6)]
    place = int(random.integers(6))
    text, start = " ".join(words), sum(len(word) + 1 for word in words[:place])
    if n % 3 == 0:
        return text, None
    return f"{text[:start]}n{text[start + 1 :]}", (start, start + len(words[place]))


class LayeredWordEncoder(FakeWordEncoder):
    """Names begin with "n"; no other word does."""

    def layer_candidates(self) -> list[Layers]:
        return [(3, 4), (1, 2), GOOD]

    def encode_with_layers(
        self, texts: Sequence[str], candidates: Sequence[Layers]
    ) -> tuple[Floats, list[list[WordVectors]]]:
        return self.encode(texts), [[_words(text, layers) for text in texts] for layers in candidates]

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        vectors, [words] = self.encode_with_layers(texts, [(3, 4)])
        return vectors, words


def _words(text: str, layers: Layers) -> WordVectors:
    starts, ends = word_offsets(text)
    vectors = np.random.default_rng([len(text), *layers]).normal(size=(len(starts), WORD_DIM))
    if layers == GOOD:
        vectors[:, 0] += [10.0 if text[start] == "n" else 0.0 for start in starts.tolist()]
    return WordVectors(starts, ends, vectors.astype(np.float16))
