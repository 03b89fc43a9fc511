"""The shapes and the table of words."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.words import word_offsets
from plugins.learners.crf.word_shapes import COLUMNS, SHAPES, word_shapes
from plugins.learners.crf.word_table import WordTable, read_words

texts = st.lists(st.text(st.sampled_from("aB1 é中#@'.-\n😀"), max_size=12), max_size=5)


def table_of(*of_texts: str) -> WordTable:
    return read_words(texts_at(of_texts), np.arange(len(of_texts)))


@given(texts)
def test_the_words_of_a_table_are_those_of_the_texts(of_texts: list[str]) -> None:
    table = table_of(*of_texts)
    expected = [
        (text, *pair) for text in of_texts for pair in zip(*map(np.ndarray.tolist, word_offsets(text)), strict=True)
    ]
    assert table.words == [text[start:end].lower() for text, start, end in expected]
    assert [*zip(table.starts, table.ends, strict=True)] == [(start, end) for _, start, end in expected]
    assert table.lengths.tolist() == [len(word_offsets(text)[0]) for text in of_texts]
    assert [of_texts[text] for text in table.texts] == [text for text, *_ in expected]


@given(texts, st.data())
def test_a_part_of_a_table_is_the_table_of_these_texts(of_texts: list[str], data: st.DataObject) -> None:
    rows = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=len(of_texts), max_size=len(of_texts))))
    table = table_of(*of_texts)
    part, words = table.take(rows)
    expected = table_of(*(of_texts[row] for row in rows))
    assert part.words == expected.words == [table.words[word] for word in words]
    for name in ("lengths", "starts", "ends", "shapes"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))


@given(texts)
def test_the_shape_of_a_word_depends_on_its_own_text_alone(of_texts: list[str]) -> None:
    together = table_of(*of_texts)
    shapes = word_shapes(together.shapes, together.lengths)
    alone = [word_shapes(table.shapes, table.lengths) for table in map(table_of, of_texts)]
    assert shapes.shape == (len(together.words), COLUMNS)
    np.testing.assert_array_equal(shapes, np.concatenate([np.empty((0, COLUMNS), np.float32), *alone]))


def test_a_word_has_the_shapes_of_its_neighbours() -> None:
    table = table_of("Ann went")
    shapes = word_shapes(table.shapes, table.lengths).reshape(2, 3, SHAPES)
    np.testing.assert_array_equal(shapes[0, 2], shapes[1, 0])
    np.testing.assert_array_equal(shapes[1, 1], shapes[0, 0])
    assert not shapes[0, 1].any() and not shapes[1, 2].any()


def test_case_and_digits_change_the_shape() -> None:
    table = table_of("x ann", "x Ann", "x ANN", "x aNN", "x 1234", "x a1", "x .", "x @ann", "x #ann")
    assert len({*table.shapes[1::2].tolist()}) == 9


def test_words_that_were_not_encoded_are_left_out() -> None:
    words = texts_at(["one two three"]).words(np.array([0]))[0]
    first = type(words)(words.starts[:2], words.ends[:2], words.vectors[:2])
    table = read_words(Texts(1, lambda rows: ["one two three"], lambda rows: [first]), np.array([0]))
    assert table.words == ["one", "two"] and len(table.shapes) == 2
