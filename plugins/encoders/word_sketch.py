"""Static text vectors: the weighted mean of a model's own word vectors, without a pass through the model.

Frequent tokens count less, as in SIF (Arora, Liang, Ma: "A Simple but Tough-to-Beat Baseline for Sentence Embeddings",
ICLR 2017). The frequencies come from the vocabulary itself, which tokenizer trainers write roughly from frequent to
rare, so that the weight is the logarithm of the rank (Zipf's law, as model2vec does).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.arrays import Floats

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 128
CHUNK_TEXTS = 2048  # texts tokenised at a time
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
        from scipy.sparse import csr_array

        vocabulary, d = self._word_vectors.shape
        out: Floats = np.zeros((len(texts), d), dtype=np.float32)
        for start in range(0, len(texts), self._chunk_texts):
            chunk = [text[:MAX_CHARS] for text in texts[start : start + self._chunk_texts]]
            ids = [e.ids for e in self._tokenizer.encode_batch_fast(chunk, add_special_tokens=False)]
            bounds, tokens = np.cumsum([0, *map(len, ids)]), np.array([*chain.from_iterable(ids)], np.int64)
            # a sum over the tokens that does not copy their vectors: these would be 170 MB for a chunk of short texts
            counts = csr_array((np.ones(len(tokens), np.float32), tokens, bounds), (len(chunk), vocabulary))
            out[start : start + len(chunk)] = counts @ self._word_vectors
        lengths = np.linalg.norm(out, axis=1)
        out[lengths == 0, 0] = 1.0
        lengths[lengths == 0] = 1.0
        out /= lengths[:, None]
        return out
