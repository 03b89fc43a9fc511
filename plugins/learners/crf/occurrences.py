"""Where words and phrases of a gazetteer occur in texts, and which labels they have there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ml_backend.core.arrays import Ints
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.text_lengths import TextLengths

WordSpan = tuple[int, int, int]
"""The first word of a span, the word behind it, and the number of its type, or UNKNOWN."""
UNKNOWN = -1
"""The type of a span of which it is unknown whether its words are in a span of some type."""
Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Occurrences(TextLengths):
    """The words of n texts, one text after another, and the places where q phrases occur.

    lengths       (n,) words of each text
    words         (w,) the row of each word in the gazetteer, -1 if it has none
    begins, ends  (q,) the first word of each phrase, and the word behind it; of phrases that begin at the same word the
                  longest comes first
    phrases       (q,) the row of each phrase
    """

    words: Ints
    begins: Ints
    ends: Ints
    phrases: Ints

    @property
    def phrase_texts(self) -> Ints:
        """(q,) the text of each phrase."""
        return self.texts[self.begins]


def find_occurrences(
    rows: Mapping[str, int], phrase_rows: Mapping[Phrase, int], words: Sequence[str], lengths: Ints
) -> Occurrences:
    """The places of words and phrases, which have these rows, in n texts."""
    lengths_by_word = _lengths_by_first_word(phrase_rows)
    phrases = [
        (place, place + length, row)
        for first, end in pairwise(np.cumsum([0, *lengths]).tolist())
        for place in range(first, end)
        for length in lengths_by_word.get(words[place], ())
        if place + length <= end and (row := phrase_rows.get(tuple(words[place : place + length]), -1)) >= 0
    ]
    begins, ends, of_phrases = np.array(phrases, np.int64).reshape(-1, 3).T
    return Occurrences(lengths, np.array([rows.get(word, -1) for word in words], np.int64), begins, ends, of_phrases)


def _lengths_by_first_word(phrases: Iterable[Phrase]) -> dict[str, list[int]]:
    """The lengths of the phrases that begin with a word, the longest first."""
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for phrase in phrases:
        lengths[phrase[0]].add(len(phrase))
    return {word: sorted(of_word, reverse=True) for word, of_word in lengths.items()}


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels that add 1 to a count each: the place of a word or of a phrase, and the column of the label among
    `n_columns`."""

    places: Ints
    columns: Ints
    n_columns: int

    def sums(self, rows: Ints, n_rows: int) -> Doubles:
        """(n_rows, n_columns) the number of labels in each row. rows: of each place, -1 if it is not counted"""
        of_labels = rows[self.places]
        counted = of_labels >= 0
        cells = of_labels[counted] * self.n_columns + self.columns[counted]
        counts = np.bincount(cells, minlength=n_rows * self.n_columns)
        return counts.reshape(n_rows, self.n_columns).astype(np.float64)


def find_labels(
    occurrences: Occurrences, texts: Ints, spans: Sequence[Sequence[WordSpan]], types: int
) -> tuple[Labels, Labels]:
    """The labels of words, and those of phrases. The columns are the types, and at the end that of words outside all
    spans, or that of all occurrences of a phrase. A phrase of which no word is known does not occur.

    texts  (c,) the labelled texts among the n ones; a text may have been labelled several times
    spans  (c,) their spans; later ones of a text override earlier ones
    """
    lengths, first_words = occurrences.lengths[texts], occurrences.first_words[texts]
    of_words = _types_of_words(lengths, spans, types)
    words = ranges(first_words, lengths)
    is_known = of_words != UNKNOWN
    bounds = np.searchsorted(occurrences.begins, np.stack([first_words, first_words + lengths]))
    phrases = ranges(bounds[0], bounds[1] - bounds[0])
    # the place of a word of the c texts is the place of the word in the n texts plus a shift
    shifts = np.cumsum(lengths) - lengths - first_words
    of_phrases = np.repeat(shifts, bounds[1] - bounds[0])
    begins, ends = occurrences.begins[phrases] + of_phrases, occurrences.ends[phrases] + of_phrases
    n_known = np.concatenate([[0], np.cumsum(is_known)])
    occurring = np.flatnonzero(n_known[ends] > n_known[begins])
    places = {pair: place for place, pair in enumerate(zip(begins.tolist(), ends.tolist(), strict=True))}
    marked = np.array(
        [
            (phrases[place], kind)
            for first, of_text in zip((np.cumsum(lengths) - lengths).tolist(), spans, strict=True)
            for begin, end, kind in of_text
            if kind != UNKNOWN and (place := places.get((first + begin, first + end))) is not None
        ],
        np.int64,
    ).reshape(-1, 2)
    phrase_places = np.concatenate([phrases[occurring], marked[:, 0]])
    phrase_columns = np.concatenate([np.full(len(occurring), types), marked[:, 1]])
    return (
        Labels(words[is_known], of_words[is_known], types + 1),
        Labels(phrase_places, phrase_columns, types + 1),
    )


def _types_of_words(lengths: Ints, spans: Sequence[Sequence[WordSpan]], outside: int) -> Ints:
    """(w,) the type of the span of each word, `outside` for a word in no span."""
    types = np.full(int(lengths.sum()), outside)
    for first, of_text in zip((np.cumsum(lengths) - lengths).tolist(), spans, strict=True):
        for begin, end, kind in of_text:
            types[first + begin : first + end] = kind
    return types


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """The numbers from each start on, as many as its length says, one range after another."""
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths))
