"""The counts of words and phrases, against counts made one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Floats, Ints
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.gazetteer import HALF_SEEN, Gazetteer, count_texts, empty_gazetteer, joined
from plugins.learners.crf.gazetteer_tensors import from_tensors, to_tensors
from plugins.learners.crf.occurrences import UNKNOWN, WordSpan

TYPES = 2
Text = tuple[list[str], list[WordSpan]]


@st.composite
def labelled_text(draw: st.DrawFn) -> Text:
    """A text of few different words, and spans that do not overlap, some of them of an unknown type."""
    words = draw(st.lists(st.sampled_from("abc"), max_size=5))
    cuts = sorted(draw(st.sets(st.integers(0, len(words)), max_size=4)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    spans = [(begin, end, draw(st.integers(UNKNOWN, TYPES - 1))) for begin, end in pairs]
    return words, sorted(spans, key=lambda span: span[2] != UNKNOWN)


texts_of_any_kind = st.lists(labelled_text(), min_size=1, max_size=5)


def flat(texts: Sequence[Text]) -> tuple[list[str], Ints, list[list[WordSpan]], Ints]:
    words = [word for of_text, _ in texts for word in of_text]
    lengths = np.array([len(of_text) for of_text, _ in texts], np.int64)
    return words, lengths, [spans for _, spans in texts], numbers_of(texts)


def numbers_of(texts: Sequence[Text]) -> Ints:
    """A number of the words of each text, which consists of less than six letters."""
    return np.array([int("0" + "".join(str("abc".index(w) + 1) for w in words)) for words, _ in texts], np.int64)


def count(texts: Sequence[Text]) -> Gazetteer:
    return count_texts(TYPES, *flat(texts))


def features(gazetteer: Gazetteer, words: Sequence[str], lengths: Ints, left_out: Ints | None = None) -> Floats:
    return gazetteer.read(words, lengths, left_out).features()


def types_of(text: Text) -> list[int]:
    """The type of each word, TYPES outside of all spans."""
    types = [TYPES] * len(text[0])
    for begin, end, kind in text[1]:
        types[begin:end] = [kind] * (end - begin)
    return types


def share(texts: Sequence[Text], word: str, kind: int) -> tuple[float, bool]:
    """The share of the known occurrences of a word that are in spans of a type, and whether there is any."""
    types = [of_word for text in texts for other, of_word in zip(text[0], types_of(text), strict=True) if other == word]
    known = [of_word for of_word in types if of_word != UNKNOWN]
    return known.count(kind) / (len(known) + HALF_SEEN), bool(known)


def phrase_share(texts: Sequence[Text], phrase: list[str], kind: int) -> float:
    """The share of a type among the spans that consist of a phrase."""
    kinds = [kind for words, spans in texts for begin, end, kind in spans if words[begin:end] == phrase and kind >= 0]
    return kinds.count(kind) / (len(kinds) + HALF_SEEN) if kinds else 0.0


def expected_features(texts: Sequence[Text], words: list[str]) -> Doubles:
    """(w, 4 m + 1) the features of one text's words by the counts of these texts."""
    out = np.zeros((len(words), 4 * TYPES + 1))
    for place, word in enumerate(words):
        for kind in range(TYPES):
            out[place, kind], out[place, -1] = share(texts, word, kind)
        for length in range(len(words) - place, 0, -1):
            shares = [phrase_share(texts, words[place : place + length], kind) for kind in range(TYPES)]
            if any(shares):
                last = place + length - 1
                for block, at in ((1, [place]), (2, range(place + 1, last + 1)), (3, [last])):
                    for row in at:
                        columns = slice(block * TYPES, (block + 1) * TYPES)
                        out[row, columns] = np.maximum(out[row, columns], shares)
                break
    return out


def phrase_counts(texts: Sequence[Text], phrase: Sequence[str]) -> list[int]:
    """How often a phrase is a span of each type, and how often it occurs with a known word."""
    counts = [0] * (TYPES + 1)
    for words, spans in texts:
        types = types_of((words, spans))
        for begin in range(len(words) - len(phrase) + 1):
            end = begin + len(phrase)
            if words[begin:end] == [*phrase]:
                counts[TYPES] += any(kind != UNKNOWN for kind in types[begin:end])
                for kind in range(TYPES):
                    counts[kind] += (begin, end, kind) in spans
    return counts


@given(texts_of_any_kind, labelled_text())
def test_features_are_shares_of_the_known_occurrences_in_labelled_texts(texts: list[Text], new: Text) -> None:
    actual = features(count(texts), new[0], np.array([len(new[0])]))
    np.testing.assert_allclose(actual, expected_features(texts, new[0]), atol=1e-6)


@given(texts_of_any_kind)
def test_the_counts_of_phrases_are_those_of_their_known_occurrences(texts: list[Text]) -> None:
    gazetteer = count(texts)
    for phrase, row in gazetteer.phrase_rows.items():
        assert gazetteer.phrase_counts[row].tolist() == phrase_counts(texts, phrase)


@given(texts_of_any_kind)
def test_a_labelled_text_and_its_copies_are_left_out_of_its_own_features(texts: list[Text]) -> None:
    words, lengths, _, numbers = flat(texts)
    actual = features(count(texts), words, lengths, numbers)
    expected = [expected_features([other for other in texts if other[0] != text[0]], text[0]) for text in texts]
    np.testing.assert_allclose(actual, np.concatenate(expected), atol=1e-6)


@given(texts_of_any_kind, st.data())
def test_the_labels_of_some_texts_are_left_out_of_the_features_of_all(texts: list[Text], data: st.DataObject) -> None:
    rows = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1))))
    words, lengths, _, _ = flat(texts)
    counted = count(texts).read(words, lengths).without(np.array(rows, np.int64), [texts[row][1] for row in rows])
    others = [text for row, text in enumerate(texts) if row not in rows]
    expected = [expected_features(others, text[0]) for text in texts]
    np.testing.assert_allclose(counted.features(), np.concatenate(expected), atol=1e-6)


@given(texts_of_any_kind, texts_of_any_kind)
def test_a_text_is_left_out_of_joined_counts_whoever_has_labelled_it(first: list[Text], second: list[Text]) -> None:
    """As the annotators and a teacher may have labelled the same text."""
    words, lengths, _, numbers = flat(first)
    actual = features(joined(count(first), count(second), np.arange(TYPES)), words, lengths, numbers)
    expected = [
        expected_features([other for other in (*first, *second) if other[0] != text[0]], text[0]) for text in first
    ]
    np.testing.assert_allclose(actual, np.concatenate(expected), atol=1e-6)


@given(st.lists(labelled_text(), max_size=4), labelled_text())
def test_a_gazetteer_is_the_same_after_it_was_stored(texts: list[Text], new: Text) -> None:
    gazetteer = count(texts)
    stored = from_tensors(to_tensors(gazetteer))
    words, lengths, _, numbers = flat([*texts, new])
    for left_out in (None, numbers):
        np.testing.assert_array_equal(
            features(stored, words, lengths, left_out), features(gazetteer, words, lengths, left_out)
        )
    assert stored.types == TYPES


def test_a_gazetteer_of_no_texts_knows_nothing() -> None:
    empty = from_tensors(to_tensors(empty_gazetteer(TYPES)))
    assert not features(empty, ["a", "b"], np.array([2]), np.array([12])).any()
