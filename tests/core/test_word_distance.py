"""The distance of two texts in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.word_distance import closeness, closeness_matrix, nearest_closeness, word_edits
from ml_backend.core.words import words_of

texts = st.lists(st.sampled_from(["a", "b", "B", "c", ",", "東京", "👩‍👩‍👧", " ", "\n"]), max_size=8).map(" ".join)


def textbook_distance(words: list[str], others: list[str]) -> int:
    """The table of Wagner and Fischer (1974)."""
    row = list(range(len(others) + 1))
    for i, word in enumerate(words, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(others, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


@pytest.mark.parametrize(
    ("text", "other", "edits", "expected"),
    [
        ("", "", 0, 1.0),
        (" ", "\n", 0, 1.0),
        ("", "one two", 2, 0.0),
        ("this is bad", "this is good", 1, 2 / 3),
        ("Stop it!", "stop it", 2, 1 / 3),
        ("a  b\nc", "a b c", 0, 1.0),
        ("東京に行く", "京都に行く", 2, 3 / 5),
    ],
)
def test_distance_counts_words_with_punctuation_and_letter_case_but_no_blanks(
    text: str, other: str, edits: int, expected: float
) -> None:
    assert word_edits(text, other) == edits
    assert closeness(text, other) == pytest.approx(expected)


@given(texts, texts)
def test_distance_is_that_of_the_textbook(text: str, other: str) -> None:
    words, others = words_of(text), words_of(other)
    expected = textbook_distance(words, others)
    assert word_edits(text, other) == expected
    assert closeness(text, other) == pytest.approx(1 - expected / max(len(words), len(others), 1))


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=3))
def test_batch_forms_equal_single_pairs(first: list[str], second: list[str]) -> None:
    matrix = closeness_matrix(first, second)
    assert matrix.shape == (len(first), len(second))
    assert matrix.tolist() == [[closeness(text, other) for other in second] for text in first]
    np.testing.assert_array_equal(nearest_closeness(first, [second] * len(first)), matrix.max(axis=1, initial=0.0))


def test_no_text_is_close_to_none() -> None:
    np.testing.assert_array_equal(nearest_closeness(["a", "a b"], [[], ["a", "a b"]]), [0.0, 1.0])
