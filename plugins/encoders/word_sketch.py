"""Static text vectors: the weighted mean of a model's own word vectors, without a pass through the model.

Frequent tokens count less, as in SIF (Arora, Liang, Ma: "A Simple but Tough-to-Beat Baseline for Sentence Embeddings",
ICLR 2017). The frequencies come from the vocabulary itself, which tokenizer trainers write roughly from frequent to
rare, so that the weight is the logarithm of the rank (Zipf's law, as model2vec does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.core.types import Floats

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 128
CHUNK = 2048  # texts tokenised at a time; their gathered word vectors are what takes the memory
MAX_CHARS = 8 * MAX_TOKENS  # the tokenizer would read a whole book to keep its first 128 tokens


class WordSketch:
    """A bag of word vectors. Calling it is thread-safe.

    `words` is the model's (vocabulary, d) input embedding, `tokenizer` its tokenizer, which is reconfigured: pass one
    that nobody else uses.
    """

    def __init__(self, words: Floats, tokenizer: Tokenizer) -> None:
        rarity = np.log(np.arange(2, len(words) + 2, dtype=np.float32))[:, None]
        self._words = (words * rarity).astype(np.float32, copy=False)
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32 of unit length; all texts without tokens share one arbitrary unit vector."""
        out: Floats = np.zeros((len(texts), self._words.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), CHUNK):
            chunk = [text[:MAX_CHARS] for text in texts[start : start + CHUNK]]
            ids = [e.ids for e in self._tokenizer.encode_batch_fast(chunk, add_special_tokens=False)]
            filled = [row for row, tokens in enumerate(ids) if tokens]
            if not filled:
                continue
            firsts = np.cumsum([0] + [len(ids[row]) for row in filled[:-1]])
            gathered = self._words[np.concatenate([ids[row] for row in filled])]
            out[start + np.array(filled)] = np.add.reduceat(gathered, firsts, axis=0)
        lengths = np.linalg.norm(out, axis=1)
        out[lengths == 0, 0] = 1.0
        lengths[lengths == 0] = 1.0
        out /= lengths[:, None]
        return out
