"""The counts of words and phrases, against counts made one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Ints
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.gazetteer import HALF_SEEN, WordSpan, count_texts, from_tensors, to_tensors

TYPES = 2
Text = tuple[list[str], list[WordSpan]]


@st.composite
def labelled_text(draw: st.DrawFn) -> Text:
    """A text of few different words, and spans that do not overlap."""
    words = draw(st.lists(st.sampled_from("abc"), max_size=6))
    cuts = sorted(draw(st.sets(st.integers(0, len(words)), max_size=4)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return words, [(begin, end, draw(st.integers(0, TYPES - 1))) for begin, end in pairs]


def flat(texts: Sequence[Text]) -> tuple[list[str], Ints, list[list[WordSpan]]]:
    words = [word for of_text, _ in texts for word in of_text]
    return words, np.array([len(of_text) for of_text, _ in texts], np.int64), [spans for _, spans in texts]


def share(texts: Sequence[Text], word: str, kind: int) -> tuple[float, bool]:
    """The share of the occurrences of a word that are in spans of a type, and whether there is any."""
    counts = [0] * (TYPES + 1)
    for words, spans in texts:
        types = {place: span[2] for span in spans for place in range(*span[:2])}
        for place, other in enumerate(words):
            if other == word:
                counts[types.get(place, TYPES)] += 1
    return counts[kind] / (sum(counts) + HALF_SEEN), sum(counts) > 0


def phrase_share(texts: Sequence[Text], phrase: list[str], kind: int) -> float:
    """The share of a type among the spans that consist of a phrase."""
    kinds = [span[2] for words, spans in texts for span in spans if words[span[0] : span[1]] == phrase]
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


@given(st.lists(labelled_text(), min_size=1, max_size=4), labelled_text())
def test_features_are_shares_of_the_occurrences_in_labelled_texts(texts: list[Text], new: Text) -> None:
    gazetteer = count_texts(TYPES, *flat(texts))
    features = gazetteer.features(new[0], np.array([len(new[0])]), None)
    np.testing.assert_allclose(features, expected_features(texts, new[0]), atol=1e-6)


@given(st.lists(labelled_text(), min_size=1, max_size=4))
def test_a_labelled_text_is_left_out_of_its_own_features(texts: list[Text]) -> None:
    words, lengths, spans = flat(texts)
    features = count_texts(TYPES, words, lengths, spans).features(words, lengths, spans)
    expected = [expected_features([*texts[:row], *texts[row + 1 :]], text[0]) for row, text in enumerate(texts)]
    np.testing.assert_allclose(features, np.concatenate(expected), atol=1e-6)


@given(st.lists(labelled_text(), max_size=4), labelled_text())
def test_a_gazetteer_is_the_same_after_it_was_stored(texts: list[Text], new: Text) -> None:
    gazetteer = count_texts(TYPES, *flat(texts))
    stored = from_tensors(to_tensors(gazetteer))
    length = np.array([len(new[0])])
    np.testing.assert_array_equal(stored.features(new[0], length, None), gazetteer.features(new[0], length, None))
    assert stored.types == TYPES
