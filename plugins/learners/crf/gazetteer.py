"""What the labels of a project say of words and phrases, wherever they occur again.

A word that was marked once is likely to be marked again. The counts of a text leave out the text itself when a learner
is fitted on it: otherwise the learner would rely on them alone (measured: the F1 score of 100 sentences of ncbi-disease
falls from 57 to 36).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Tensors
from plugins.learners.crf.chain import Doubles

HALF_SEEN = 0.5
"""Pseudo-count: a word that was seen once counts less than one that was seen often."""
WORDS, WORD_COUNTS = "gazetteer.words", "gazetteer.word_counts"
PHRASES, PHRASE_COUNTS = "gazetteer.phrases", "gazetteer.phrase_counts"
"""Names of the tensors."""
WordSpan = tuple[int, int, int]
"""The first word of a span, the word behind it, and the number of its type."""
Phrase = tuple[str, ...]
LeftOut = Sequence[Sequence[WordSpan] | None] | None
MAX_PHRASE_WORDS = 12
"""Words of a span that is counted as a phrase: longer ones do not occur again, and quote their text."""


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Counts over labelled texts, whose words are in lower case.

    word_counts    (v, m + 1) occurrences of each of v words in spans of each of m types, and outside of all
    rows           the row of each word
    phrase_counts  (m + 1,) occurrences of each phrase as a span of each type, and all of its occurrences, marked or
                   not; infinite if it is unknown how often it is not marked
    """

    word_counts: Doubles
    rows: Mapping[str, int]
    phrase_counts: Mapping[Phrase, Doubles]

    @property
    def types(self) -> int:
        """m."""
        return self.word_counts.shape[1] - 1

    def features(self, words: Sequence[str], lengths: Ints, left_out: LeftOut) -> Floats:
        """(w, 4 m + 1) of the words of n texts, one after another: for each type the share of the word's occurrences
        that are in spans of it; whether a phrase of it begins, goes on or ends here; and whether the word was seen.

        left_out  (n,) the spans of each text that is among the counted ones, None for another one: the counts of a text
                  are left out for its own words; None if no text was counted
        """
        m, out = self.types, np.zeros((len(words), 4 * self.types + 1), np.float32)
        rows = np.array([self.rows.get(word, -1) for word in words], np.int64)
        known = np.flatnonzero(rows >= 0)
        counts = self.word_counts[rows[known]]
        if left_out is not None:
            texts = np.repeat(np.arange(len(lengths)), lengths)
            own_types = _types_of_words(lengths, [of_text or () for of_text in left_out], m)
            own = self._own_counts(rows[known], texts[known], own_types[known])
            is_counted = np.array([of_text is not None for of_text in left_out], np.bool_)[texts[known]]
            counts = np.maximum(counts - own * is_counted[:, None], 0)  # a text may have changed since it was counted
        totals = counts.sum(axis=1)
        out[known, :m] = counts[:, :m] / (totals + HALF_SEEN)[:, None]
        out[known, -1] = totals > 0
        self._add_phrases(out, words, lengths, left_out)
        return out

    def _own_counts(self, rows: Ints, texts: Ints, types: Ints) -> Doubles:
        """(w, m + 1) the counts of each word in its own text."""
        _, pairs = np.unique(texts * len(self.word_counts) + rows, return_inverse=True)
        own = np.zeros((int(pairs.max(initial=-1)) + 1, self.types + 1))
        np.add.at(own, (pairs, types), 1.0)
        return np.asarray(own[pairs])

    def _add_phrases(self, out: Floats, words: Sequence[str], lengths: Ints, left_out: LeftOut) -> None:
        """Adds the columns of phrases, of the longest phrase that begins at each word."""
        m, longest_at = self.types, -1
        for first, length, counts in self.phrases(words, lengths, left_out):
            total = counts[:m].sum()
            if total > 0 and first != longest_at:
                longest_at, last = first, first + length - 1
                shares = counts[:m] / (total + HALF_SEEN)
                for block, at in ((1, slice(first, first + 1)), (2, slice(first + 1, last + 1)), (3, [last])):
                    columns = slice(block * m, (block + 1) * m)
                    out[at, columns] = np.maximum(out[at, columns], shares)

    def phrases(self, words: Sequence[str], lengths: Ints, left_out: LeftOut) -> Iterator[tuple[int, int, Doubles]]:
        """Yields each place where a phrase occurs in n texts: its first word, its number of words, and its counts (m +
        1,), with the longest phrase of a word first. left_out: see `features`"""
        lengths_by_word = _lengths_by_first_word(self.phrase_counts)
        for text, (first, end) in enumerate(pairwise(np.cumsum([0, *lengths]).tolist())):
            found = [
                (place, length, phrase)
                for place in range(first, end)
                for length in lengths_by_word.get(words[place], ())
                if place + length <= end and (phrase := tuple(words[place : place + length])) in self.phrase_counts
            ]
            own_spans = None if left_out is None else left_out[text]
            own = {} if own_spans is None else self._own_phrases(words[first:end], [p for *_, p in found], own_spans)
            for place, length, phrase in found:
                counts = self.phrase_counts[phrase]
                yield place, length, np.maximum(counts - own[phrase], 0) if own else counts

    def _own_phrases(
        self, words: Sequence[str], occurrences: Sequence[Phrase], spans: Sequence[WordSpan]
    ) -> dict[Phrase, Doubles]:
        """The counts (m + 1,) of the phrases in their own text."""
        own: dict[Phrase, Doubles] = {phrase: np.zeros(self.types + 1) for phrase in occurrences}
        for phrase in occurrences:
            own[phrase][-1] += 1
        for begin, end, kind in spans:
            if (phrase := tuple(words[begin:end])) in own:
                own[phrase][kind] += 1
        return own


def count_texts(types: int, words: Sequence[str], lengths: Ints, spans: Sequence[Sequence[WordSpan]]) -> Gazetteer:
    """Counts the words and phrases of n labelled texts, one after another. spans: (n,) of each text"""
    rows: dict[str, int] = {}
    numbers = np.array([rows.setdefault(word, len(rows)) for word in words], np.int64)
    word_counts = np.zeros((len(rows), types + 1))
    np.add.at(word_counts, (numbers, _types_of_words(lengths, spans, types)), 1.0)
    phrase_counts: dict[Phrase, Doubles] = {}
    for text, first in enumerate((np.cumsum(lengths) - lengths).tolist()):
        for begin, end, kind in spans[text]:
            phrase = tuple(words[first + begin : min(first + end, first + begin + MAX_PHRASE_WORDS + 1)])
            if len(phrase) <= MAX_PHRASE_WORDS:
                phrase_counts.setdefault(phrase, np.zeros(types + 1))[kind] += 1
    gazetteer = Gazetteer(word_counts, rows, phrase_counts)
    for _, _, counts in gazetteer.phrases(words, lengths, None):
        counts[-1] += 1
    return gazetteer


def joined(first: Gazetteer, second: Gazetteer, places: Ints) -> Gazetteer:
    """The sum of the counts of both. How often a phrase occurs is unknown if only the second one has it as a span.
    places: (m,) of the types of `first` among those of `second`, -1 for none"""
    m, rows = first.types, dict(first.rows)
    for word in second.rows:
        rows.setdefault(word, len(rows))
    is_shared = places >= 0
    word_counts = np.zeros((len(rows), m + 1))
    word_counts[: len(first.rows)] = first.word_counts
    of_second = np.array([rows[word] for word in second.rows], np.int64)
    word_counts[np.ix_(of_second, np.flatnonzero(is_shared))] += second.word_counts[:, places[is_shared]]
    word_counts[of_second, m] += second.word_counts[:, -1]
    phrase_counts = dict(first.phrase_counts)
    for phrase, counts in second.phrase_counts.items():
        shared = np.append(np.where(is_shared, counts[places], 0.0), counts[-1])
        phrase_counts[phrase] = phrase_counts.get(phrase, np.append(np.zeros(m), np.inf)) + shared
    return Gazetteer(word_counts, rows, phrase_counts)


def _types_of_words(lengths: Ints, spans: Sequence[Sequence[WordSpan]], outside: int) -> Ints:
    """(w,) the type of the span of each word, `outside` for a word in no span."""
    types = np.full(int(lengths.sum()), outside)
    for first, of_text in zip((np.cumsum(lengths) - lengths).tolist(), spans, strict=True):
        for begin, end, kind in of_text:
            types[first + begin : first + end] = kind
    return types


def _lengths_by_first_word(phrases: Mapping[Phrase, Doubles]) -> dict[str, list[int]]:
    """The lengths of the phrases that begin with a word, the longest first."""
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for phrase in phrases:
        lengths[phrase[0]].add(len(phrase))
    return {word: sorted(of_word, reverse=True) for word, of_word in lengths.items()}


def to_tensors(gazetteer: Gazetteer) -> Tensors:
    """The gazetteer as tensors, in alphabetical order, because the order of the texts would quote them. Words have no
    blanks in them."""
    words, phrases = sorted(gazetteer.rows), sorted(gazetteer.phrase_counts)
    phrase_counts = [gazetteer.phrase_counts[phrase] for phrase in phrases]
    return {
        WORDS: _as_bytes("\n".join(words)),
        WORD_COUNTS: gazetteer.word_counts[[gazetteer.rows[word] for word in words]].astype(np.float32),
        PHRASES: _as_bytes("\n".join(map(" ".join, phrases))),
        PHRASE_COUNTS: np.array(phrase_counts, np.float32).reshape(len(phrases), gazetteer.types + 1),
    }


def from_tensors(tensors: Tensors) -> Gazetteer:
    """The inverse of `to_tensors`."""
    words, phrases = (bytes(tensors[name]).decode("utf-8", "surrogatepass").split("\n") for name in (WORDS, PHRASES))
    word_counts, phrase_counts = (tensors[name].astype(np.float64) for name in (WORD_COUNTS, PHRASE_COUNTS))
    rows = {word: row for row, word in enumerate(words[: len(word_counts)])}
    return Gazetteer(word_counts, rows, {tuple(p.split(" ")): c for p, c in zip(phrases, phrase_counts, strict=False)})


def _as_bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
