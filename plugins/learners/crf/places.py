"""The order in which the words of many texts are tagged.

The words of n texts are in the order of their places: all first words, then all second words, and so on, the longest
text first. So a step from word to word is one operation on arrays for all texts, without padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Ints


@dataclass(frozen=True, slots=True)
class Places:
    """The order of the w words of n texts by their places.

    order     (w,) the words in this order, as indices into the words text by text
    texts     (w,) the text of each word, in this order
    bounds    (t + 1,) the words of place p are those from bounds[p] to bounds[p + 1]
    previous  (w,) the word before each word, in this order; -1 for the first words
    following (w,) the word after each word, in this order; -1 for the last words
    """

    order: Ints
    texts: Ints
    bounds: Ints
    previous: Ints
    following: Ints

    @property
    def n_texts(self) -> int:
        """n, without texts that have no words."""
        return int(self.bounds[1]) if len(self.bounds) > 1 else 0

    @property
    def ranks(self) -> Ints:
        """(w,) for each word the rank of its text by length, the longest first."""
        return np.arange(int(self.bounds[-1])) - np.repeat(self.bounds[:-1], np.diff(self.bounds))


def sort_by_place(lengths: Ints) -> Places:
    """The order of the words of texts (n,) with these numbers of words, one of which may be 0."""
    by_length = np.argsort(-lengths, kind="stable")
    starts = np.cumsum(lengths) - lengths
    longest = int(lengths.max(initial=0))
    counts = (np.sort(lengths)[::-1, None] > np.arange(longest)).sum(axis=0) if longest else np.empty(0, np.int64)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    places = np.repeat(np.arange(longest), counts)
    ranks = np.arange(int(bounds[-1])) - bounds[places]
    texts = by_length[ranks]
    previous = np.where(places > 0, bounds[np.maximum(places - 1, 0)] + ranks, -1)
    has_next = places + 1 < lengths[texts]
    following = np.where(has_next, bounds[places + 1] + ranks, -1)
    return Places(starts[texts] + places, texts, bounds, previous, following)
