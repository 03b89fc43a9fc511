"""Turns the states of a model's tokens into vectors of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from ml_backend.core.texts import WordVectors
from ml_backend.core.words import word_offsets

OVERLAP_TOKENS = 64
"""Tokens that two parts of a long text have in common, so that each word has a context on one side at least."""


def word_vectors(text: str, offsets: Sequence[Sequence[tuple[int, int]]], states: Sequence[Floats]) -> WordVectors:
    """The words of a text, each with the mean of the states of its tokens: zeros for a word without tokens.

    offsets  for each part of the text that the model has read, the first character of each of its t tokens and the
             character behind it; both are equal for a token that stands for no character
    states   (t, e) the states of the tokens, for each part
    """
    starts, ends = word_offsets(text)
    token_offsets = np.array([pair for part in offsets for pair in part], np.int64).reshape(-1, 2)
    token_words = _words_of_tokens(token_offsets, starts, ends)
    means = _mean_by_word(np.concatenate(states), token_words, len(starts))
    return WordVectors(starts, ends, means.astype(np.float16))


def _words_of_tokens(offsets: Ints, starts: Ints, ends: Ints) -> Ints:
    """(t,) the word in which each token ends, -1 for a token outside all words or without characters. A token may begin
    with the blank before its word."""
    if not len(starts):
        return np.full(len(offsets), -1)
    last = offsets[:, 1] - 1
    words = np.searchsorted(starts, last, side="right") - 1
    is_inside = (words >= 0) & (last < ends[words]) & (offsets[:, 0] < offsets[:, 1])
    return np.where(is_inside, words, -1)


def _mean_by_word(states: Floats, words: Ints, n_words: int) -> Floats:
    """(n_words, e) the mean of the states (t, e) of the tokens of each word. words: (t,)"""
    out = np.zeros((n_words, states.shape[1]), np.float32)
    order = np.argsort(words, kind="stable")
    order = order[words[order] >= 0]
    if len(order):
        present, firsts, counts = np.unique(words[order], return_index=True, return_counts=True)
        out[present] = np.add.reduceat(states[order], firsts, axis=0) / counts[:, None]
    return out
