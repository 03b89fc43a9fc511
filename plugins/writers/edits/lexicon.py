"""What became of words in the accepted texts: how often each was kept, and what stood in its place otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.core.text_drafts import Doubles

KEPT = -1
"""In place of a phrase: the word was kept."""
DELETION = 0
"""The row of the empty phrase."""
UNSEEN_WORDS = 2.0
"""Pseudo-count of the prior in the rate at which a word is edited, and in the share of a phrase."""
TOLERANCE = 1e-6
"""Of counts, which are sums of weights in another order."""
N_FEATURES = 3


@dataclass(frozen=True, slots=True)
class Observations:
    """The w words of accepted texts' sources, one text after another.

    words    (w,) the rows of the words in the lexicon
    phrases  (w,) the phrase in the place of each word, KEPT for a word that was kept
    numbers  (w,) the number of the text's words, see `content_numbers`
    folds    (w,) the fold of the text
    weights  (w,) the weight of the text
    """

    words: Ints
    phrases: Ints
    numbers: Ints
    folds: Ints
    weights: Floats

    @property
    def is_edited(self) -> Mask:
        """(w,) whether each word was not kept."""
        return np.asarray(self.phrases != KEPT)


@dataclass(frozen=True)
class Lexicon:
    """Counts of v words by what became of them.

    words    (v,) the words in lower case
    phrases  (r,) what stood in the place of words; "" is a deletion
    entries  (m, 3) the row of a word, that of a phrase or KEPT, and a fold of the texts
    counts   (m,) the sum of the weights of the texts in which this happened
    """

    words: Sequence[str]
    phrases: Sequence[str]
    entries: Ints
    counts: Doubles

    @classmethod
    def of(cls, words: Sequence[str], phrases: Sequence[str], observations: Observations) -> Lexicon:
        """The counts of the observations, whose words and phrases these are."""
        cells = np.stack([observations.words, observations.phrases, observations.folds], axis=1).reshape(-1, 3)
        entries, places = np.unique(cells, axis=0, return_inverse=True)
        return cls(words, phrases, entries, _sums(places.ravel(), observations.weights, len(entries)))

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    def read(self, words: Sequence[str]) -> Ints:
        """(w,) the row of each word, v for a word that is in no source."""
        return np.array([self.rows.get(word, len(self.words)) for word in words], np.int64)

    def without(self, fold: int) -> WordCounts:
        """The counts of the texts outside a fold; of all texts for a fold that has none."""
        is_counted = self.entries[:, 2] != fold
        words, phrases, _ = self.entries[is_counted].T
        counts, v = self.counts[is_counted], len(self.words)
        is_kept = phrases == KEPT
        kept, edited = (_sums(words[of], counts[of], v + 1) for of in (is_kept, ~is_kept))
        words, phrases, counts = words[~is_kept], phrases[~is_kept], counts[~is_kept]
        cells, places = np.unique(words * len(self.phrases) + phrases, return_inverse=True)
        sums = _sums(places, counts, len(cells))
        # of the most frequent phrases of a word, the first in the alphabet
        order = np.lexsort((-cells, sums))
        best, best_counts = np.full(v + 1, DELETION), np.zeros(v + 1)
        of_words, of_phrases = np.divmod(cells[order], len(self.phrases))
        best[of_words], best_counts[of_words] = of_phrases, sums[order]
        deletions = counts[phrases == DELETION].sum()
        return WordCounts(kept, edited, best, best_counts, float(deletions))


@dataclass(frozen=True, slots=True)
class WordCounts:
    """The counts of v words in some of the texts, and at the end those of a word in none of them, which are 0.

    kept, edited   (v + 1,) how often each word was kept and not kept
    phrases        (v + 1,) the phrase that stood most often in its place, DELETION if there is none
    phrase_counts  (v + 1,) how often it did
    deletions      how often words were deleted
    """

    kept: Doubles
    edited: Doubles
    phrases: Ints
    phrase_counts: Doubles
    deletions: float

    def features(self, words: Ints, own_kept: Doubles | float = 0.0, own_edited: Doubles | float = 0.0) -> Floats:
        """(w, N_FEATURES) the features of words: the logarithm of the odds that a word is edited, against the odds of
        all words; whether it was edited, and whether it is unknown. `own_kept`, `own_edited` (w,): counts of a word's
        own text, which are left out."""
        rate = (self.edited.sum() + UNSEEN_WORDS / 2) / (self.edited.sum() + self.kept.sum() + UNSEEN_WORDS)
        edited, kept = self.edited[words] - own_edited, self.kept[words] - own_kept
        odds = (edited + UNSEEN_WORDS * rate) / (kept + UNSEEN_WORDS * (1 - rate))
        log_odds = np.log(np.maximum(odds, 1e-9)) - np.log(rate / (1 - rate))
        return np.stack([log_odds, edited > TOLERANCE, edited + kept < TOLERANCE], axis=1).astype(np.float32)

    def phrase_shares(self, words: Ints) -> Doubles:
        """(w,) the probability that the most frequent phrase stands in the place of a word that is not kept. Its prior
        is the share of deletions among all edits, which a word without edits has."""
        share = (self.deletions + UNSEEN_WORDS / 2) / (self.edited.sum() + UNSEEN_WORDS)
        shares = (self.phrase_counts[words] + UNSEEN_WORDS * share) / (self.edited[words] + UNSEEN_WORDS)
        return np.asarray(shares, np.float64)


def own_counts(observations: Observations) -> tuple[Doubles, Doubles]:
    """(w,) and (w,) for each word how often it was kept and edited in the texts with the words of its own text."""
    keys = np.stack([observations.numbers, observations.words], axis=1).reshape(-1, 2)
    distinct, places = np.unique(keys, axis=0, return_inverse=True)
    places, is_edited = places.ravel(), observations.is_edited
    kept, edited = (_sums(places[of], observations.weights[of], len(distinct)) for of in (~is_edited, is_edited))
    return kept[places], edited[places]


def _sums(places: Ints, weights: Floats | Doubles, n: int) -> Doubles:
    """(n,) the sum of the weights at each place."""
    return np.bincount(places, weights, n).astype(np.float64)
