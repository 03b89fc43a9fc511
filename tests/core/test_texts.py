"""Texts of tasks as learners read them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.texts import join_texts, texts_at


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
