"""Texts of tasks as learners read them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Ints
from ml_backend.core.texts import Texts, join_texts, texts_at


@given(
    texts=st.lists(st.text(max_size=5), max_size=6),
    data=st.data(),
)
def test_joined_texts_read_like_one_list(texts: list[str], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(texts)))
    joined = join_texts(texts_at(texts[:n]), texts_at(texts[n:]))
    rows = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8)) if texts else [], np.int64)
    assert len(joined) == len(texts)
    assert list(joined(rows)) == [texts[row] for row in rows]
    whole = texts_at(texts).words(rows)
    assert [words.starts.tolist() for words in joined.words(rows)] == [words.starts.tolist() for words in whole]


@given(st.lists(st.text(max_size=5), max_size=6), st.data())
def test_kept_texts_are_read_once_each_and_are_the_same(texts: list[str], data: st.DataObject) -> None:
    read: list[int] = []

    def read_rows(rows: Ints) -> list[str]:
        read.extend(rows.tolist())
        return [texts[row] for row in rows]

    kept = Texts(len(texts), read_rows).kept()
    asked = data.draw(st.lists(st.lists(st.integers(0, len(texts) - 1), unique=True), max_size=4)) if texts else [[]]
    for rows in asked:
        assert kept(np.array(rows, np.int64)) == [texts[row] for row in rows]
    assert sorted(read) == sorted({row for rows in asked for row in rows})
