"""The features of words apart from those of the gazetteer."""

from __future__ import annotations

import numpy as np
import pytest
from fake_word_encoder import WORD_DIM, FakeWordEncoder
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Floats
from ml_backend.core.texts import texts_at
from plugins.learners.crf import word_features
from plugins.learners.crf.word_features import NEIGHBOUR_SCALE, WordFeatures
from plugins.learners.crf.word_shapes import COLUMNS
from plugins.learners.crf.word_table import WordTable, read_words

WORDS = [f"word{number}" for number in range(40)]
text_lists = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=5)


def table_of(*texts: str) -> WordTable:
    return read_words(texts_at(texts, FakeWordEncoder().encode_with_words(texts)[1]), np.arange(len(texts)))


def fitted() -> WordFeatures:
    random = np.random.default_rng(0)
    return WordFeatures.of([table_of(*(" ".join(random.choice(WORDS, 6)) for _ in range(50)))])


def parts(features: Floats) -> list[Floats]:
    """The components of the word, its shapes, and the components of the words before and after it."""
    return np.split(features, [WORD_DIM, WORD_DIM + COLUMNS, 2 * WORD_DIM + COLUMNS], axis=1)


def test_components_are_uncorrelated_and_keep_the_variance() -> None:
    table = table_of(" ".join(WORDS))
    of_words = WordFeatures.of([table])
    own = parts(of_words(table))[0]
    covariance = own.T @ own / len(own)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert (np.diff(np.diag(covariance)) <= 1e-4).all()
    np.testing.assert_allclose(np.trace(covariance), (table.vectors.std(axis=0) > 1e-6).sum(), rtol=1e-3)


@given(text_lists)
def test_a_word_has_the_components_of_its_neighbours_in_its_text(texts: list[str]) -> None:
    of_words, start = fitted(), 0
    own, _, before, after = parts(of_words(table_of(*texts)))
    for text in texts:
        for place in range(n := len(text.split())):
            row = start + place
            expected_before = own[row - 1] if place else np.zeros(WORD_DIM)
            expected_after = own[row + 1] if place + 1 < n else np.zeros(WORD_DIM)
            np.testing.assert_allclose(before[row], NEIGHBOUR_SCALE * expected_before, atol=1e-5)
            np.testing.assert_allclose(after[row], NEIGHBOUR_SCALE * expected_after, atol=1e-5)
        start += n


@pytest.mark.parametrize("max_projected", [0, 100])
@given(texts=text_lists)
def test_scores_are_the_products_of_features_and_weights(max_projected: int, texts: list[str]) -> None:
    of_words, table = fitted(), table_of(*texts)
    features = of_words(table)
    weights = np.random.default_rng(1).normal(size=(features.shape[1], 3)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_features, "MAX_PROJECTED_WEIGHTS", max_projected)
        np.testing.assert_allclose(of_words.scores(table, weights), features @ weights, atol=1e-3)


def test_without_words_there_are_features_of_no_words() -> None:
    of_words = WordFeatures.of([table_of("", " ")])
    assert of_words(table_of("")).shape[0] == 0
    assert np.isfinite(of_words(table_of("one two"))).all()
