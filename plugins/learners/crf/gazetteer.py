"""The labels that words and phrases have in the labelled texts, as features of them wherever they occur again.

A word that was marked once is likely to be marked again. Where a learner is fitted on a text, or judged by it, the
counts leave out the text and its copies: otherwise the learner would rely on the counts alone (measured: the F1 score
of 100 sentences of ncbi-disease falls from 57 to 36). For this purpose a gazetteer keeps the spans of each counted
text, under a number that depends on the words of the text. A word of which it is unknown whether it is in a span is not
counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.occurrences import (
    UNKNOWN,
    Labels,
    Occurrences,
    Phrase,
    WordSpan,
    find_labels,
    find_occurrences,
    ranges,
)

Key = TypeVar("Key")
HALF_SEEN = 0.5
"""Pseudo-count: a word that was seen once counts less than one that was seen often."""
MAX_PHRASE_WORDS = 12
"""Words of a span that is counted as a phrase: longer ones do not occur again, and quote their text."""


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Counts over labelled texts, whose words are in lower case.

    word_counts    (v, m + 1) occurrences of each of v words in spans of each of m types, and outside of all
    rows           the row of each word
    phrase_counts  (p, m + 1) occurrences of each of p phrases as a span of each type, and all of its occurrences,
                   marked or not; infinite if it is unknown how often it is not marked
    phrase_rows    the row of each phrase
    counted_spans  by the number of a text's words, see `content_numbers`: the spans of each counted text
                   with these words
    """

    word_counts: Doubles
    rows: Mapping[str, int]
    phrase_counts: Doubles
    phrase_rows: Mapping[Phrase, int]
    counted_spans: Mapping[int, Sequence[Sequence[WordSpan]]]

    @property
    def types(self) -> int:
        """m."""
        return self.word_counts.shape[1] - 1

    def read(self, words: Sequence[str], lengths: Ints, left_out: Ints | None = None) -> CountedWords:
        """The words of n texts, one after another, with their counts.

        lengths   (n,) words of each text
        left_out  (n,) the number of each text's words: the counts of all texts with these words are left out. None if
                  nothing is left out
        """
        occurrences = find_occurrences(self.rows, self.phrase_rows, words, lengths)
        word_counts = np.zeros((len(words), self.types + 1))
        is_counted = occurrences.words >= 0
        word_counts[is_counted] = self.word_counts[occurrences.words[is_counted]]
        counted = CountedWords(occurrences, word_counts, self.phrase_counts[occurrences.phrases])
        return counted if left_out is None else self._without_copies(counted, left_out)

    def _without_copies(self, counted: CountedWords, numbers: Ints) -> CountedWords:
        """The same words without the counts of the texts with the same words. numbers: (n,) as in `read`"""
        distinct, firsts, copies = np.unique(numbers, return_index=True, return_inverse=True)
        pairs = [
            (first, spans)
            for number, first in zip(distinct.tolist(), firsts.tolist(), strict=True)
            for spans in self.counted_spans.get(number, ())
        ]
        texts, spans = np.array([text for text, _ in pairs], np.int64), [of_text for _, of_text in pairs]
        return counted.without(texts, spans, copies)


@dataclass(frozen=True, slots=True)
class CountedWords:
    """The words of n texts with the counts by which they are read.

    occurrences    of the w words and q phrases of the gazetteer
    word_counts    (w, m + 1) of each word
    phrase_counts  (q, m + 1) of the phrase of each place
    """

    occurrences: Occurrences
    word_counts: Doubles
    phrase_counts: Doubles

    def without(self, texts: Ints, spans: Sequence[Sequence[WordSpan]], copies: Ints | None = None) -> CountedWords:
        """The same words with lower counts.

        texts   (c,) the texts whose labels are not counted, by their place among the n texts
        spans   (c,) the spans of these texts
        copies  (n,) a number of each text from 0: labels are left out for the words of texts with the same number
                alone. None if they are left out for all words
        """
        occurrences = self.occurrences
        of_words, of_phrases = find_labels(occurrences, texts, spans, self.types)
        groups = np.zeros(len(occurrences.lengths), np.int64) if copies is None else copies
        phrase_counts = np.maximum(
            self.phrase_counts - _sums(of_phrases, groups[occurrences.phrase_texts], occurrences.phrases), 0
        )
        # the texts of a prior are not counted for phrases that the prior does not have
        phrase_counts[:, -1] = phrase_counts.max(axis=1, initial=0)
        word_counts = np.maximum(self.word_counts - _sums(of_words, groups[occurrences.texts], occurrences.words), 0)
        return replace(self, word_counts=word_counts, phrase_counts=phrase_counts)

    @property
    def types(self) -> int:
        """m."""
        return self.word_counts.shape[1] - 1

    @property
    def marked_elsewhere(self) -> Mask:
        """(q, m) the types of which a phrase was marked, if it is known how often it was not."""
        return np.asarray((self.phrase_counts[:, :-1] > 0) & np.isfinite(self.phrase_counts[:, -1:]))

    def features(self) -> Floats:
        """(w, 4 m + 1) for each type the share of the word's occurrences that are in spans of it; whether a phrase of
        it begins, goes on or ends here; and whether the word was seen."""
        m = self.types
        out = np.zeros((len(self.word_counts), 4 * m + 1), np.float32)
        totals = self.word_counts.sum(axis=1)
        out[:, :m] = self.word_counts[:, :m] / (totals + HALF_SEEN)[:, None]
        out[:, -1] = totals > 0
        self._add_phrases(out)
        return out

    def _add_phrases(self, out: Floats) -> None:
        """Adds the columns of phrases, of the longest marked phrase that begins at each word."""
        m, occurrences = self.types, self.occurrences
        totals = self.phrase_counts[:, :m].sum(axis=1)
        marked = np.flatnonzero(totals > 0)
        _, firsts = np.unique(occurrences.begins[marked], return_index=True)
        longest = marked[firsts]  # the longest phrase of a word comes first
        shares = (self.phrase_counts[longest, :m] / (totals[longest] + HALF_SEEN)[:, None]).astype(np.float32)
        begins, ends = occurrences.begins[longest], occurrences.ends[longest]
        n_inside = ends - begins - 1
        inside, of_inside = ranges(begins + 1, n_inside), np.repeat(shares, n_inside, axis=0)
        for block, words, of_words in ((1, begins, shares), (2, inside, of_inside), (3, ends - 1, shares)):
            np.maximum.at(out[:, block * m : (block + 1) * m], words, of_words)


def count_texts(
    types: int, words: Sequence[str], lengths: Ints, spans: Sequence[Sequence[WordSpan]], numbers: Ints
) -> Gazetteer:
    """Counts the words and phrases of n labelled texts, one after another.

    spans    (n,) of each text; those of the type UNKNOWN, whose words are not counted, come first
    numbers  (n,) of the words of each text
    """
    rows = {word: row for row, word in enumerate(dict.fromkeys(words))}
    phrase_rows: dict[Phrase, int] = {}
    counted_spans: dict[int, list[Sequence[WordSpan]]] = {}
    for first, of_text, number in zip((np.cumsum(lengths) - lengths).tolist(), spans, numbers.tolist(), strict=True):
        counted_spans.setdefault(number, []).append(of_text)
        for begin, end, kind in of_text:
            if kind >= 0 and end - begin <= MAX_PHRASE_WORDS:
                phrase_rows.setdefault(tuple(words[first + begin : first + end]), len(phrase_rows))
    occurrences = find_occurrences(rows, phrase_rows, words, lengths)
    of_words, of_phrases = find_labels(occurrences, np.arange(len(lengths)), spans, types)
    word_counts = of_words.sums(occurrences.words, len(rows))
    phrase_counts = of_phrases.sums(occurrences.phrases, len(phrase_rows))
    return Gazetteer(word_counts, rows, phrase_counts, phrase_rows, counted_spans)


def empty_gazetteer(types: int) -> Gazetteer:
    """The gazetteer of no texts."""
    nothing = np.zeros((0, types + 1))
    return Gazetteer(nothing, {}, nothing, {}, {})


def joined(first: Gazetteer, second: Gazetteer, columns: Ints) -> Gazetteer:
    """The sum of the counts of both. How often a phrase occurs is unknown if only the second one has it as a span.
    columns: (m,) of the types of `first` among those of `second`, -1 for none"""
    m, is_shared = first.types, columns >= 0
    rows, phrase_rows = _union(first.rows, second.rows), _union(first.phrase_rows, second.phrase_rows)
    word_counts, phrase_counts = np.zeros((len(rows), m + 1)), np.zeros((len(phrase_rows), m + 1))
    word_counts[: len(first.rows)] = first.word_counts
    phrase_counts[: len(first.phrase_rows)] = first.phrase_counts
    phrase_counts[len(first.phrase_rows) :, m] = np.inf
    shared = [*np.flatnonzero(is_shared).tolist(), m], [*columns[is_shared].tolist(), second.types]
    for counts, of_second, positions in (
        (word_counts, second.word_counts, [rows[word] for word in second.rows]),
        (phrase_counts, second.phrase_counts, [phrase_rows[phrase] for phrase in second.phrase_rows]),
    ):
        counts[np.ix_(positions, shared[0])] += of_second[:, shared[1]]
    types = {int(column): kind for kind, column in enumerate(columns) if column >= 0}
    counted_spans = dict(first.counted_spans)
    for number, labelled in second.counted_spans.items():
        with_types = [[(begin, end, types.get(kind, UNKNOWN)) for begin, end, kind in spans] for spans in labelled]
        counted_spans[number] = [*counted_spans.get(number, ()), *with_types]
    return Gazetteer(word_counts, rows, phrase_counts, phrase_rows, counted_spans)


def _union(first: Mapping[Key, int], second: Mapping[Key, int]) -> dict[Key, int]:
    """The rows of both, those of `first` first."""
    return {key: row for row, key in enumerate(dict.fromkeys([*first, *second]))}


def _sums(labels: Labels, groups: Ints, rows: Ints) -> Doubles:
    """(places, m + 1) for each place the labels of all places with its group and its row. groups, rows: of each
    place"""
    _, pairs = np.unique(groups * (int(rows.max(initial=-1)) + 2) + rows, return_inverse=True)
    return labels.sums(pairs, int(pairs.max(initial=-1)) + 1)[pairs]
