"""Static text vectors: the weighted mean of a model's own word vectors, without a pass through the model.

Frequent tokens count less, as in SIF (Arora, Liang, Ma: "A Simple but Tough-to-Beat Baseline for Sentence Embeddings",
ICLR 2017). The frequencies come from the vocabulary itself, which tokenizer trainers write roughly from frequent to
rare, so that the weight is the logarithm of the rank (Zipf's law, as model2vec does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.arrays import Floats

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 128
CHUNK_TEXTS = 2048  # texts tokenised at a time; their word vectors take most of the memory
MAX_CHARS = 8 * MAX_TOKENS  # without it, the tokenizer would read the whole of a long text to keep its first 128 tokens


class WordSketch:
    """Mean word vectors of texts. Calls are thread-safe.

    `word_vectors` is the model's (vocabulary, d) input embedding. `tokenizer` is its tokenizer; it is reconfigured, so
    pass one that no other code uses.
    """

    def __init__(self, word_vectors: Floats, tokenizer: Tokenizer, chunk_texts: int = CHUNK_TEXTS) -> None:
        self._chunk_texts = chunk_texts
        rarity = np.log(np.arange(2, len(word_vectors) + 2, dtype=np.float32))[:, None]
        self._word_vectors = (word_vectors * rarity).astype(np.float32, copy=False)
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Returns vectors (n, d) float32 of unit length; all texts without tokens share one arbitrary unit vector."""
        out: Floats = np.zeros((len(texts), self._word_vectors.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), self._chunk_texts):
            chunk = [text[:MAX_CHARS] for text in texts[start : start + self._chunk_texts]]
            ids = [e.ids for e in self._tokenizer.encode_batch_fast(chunk, add_special_tokens=False)]
            with_tokens = [row for row, tokens in enumerate(ids) if tokens]
            if not with_tokens:
                continue
            starts = np.cumsum([0] + [len(ids[row]) for row in with_tokens[:-1]])
            word_vectors = self._word_vectors[np.concatenate([ids[row] for row in with_tokens])]
            out[start + np.array(with_tokens)] = np.add.reduceat(word_vectors, starts, axis=0)
        lengths = np.linalg.norm(out, axis=1)
        out[lengths == 0, 0] = 1.0
        lengths[lengths == 0] = 1.0
        out /= lengths[:, None]
        return out
