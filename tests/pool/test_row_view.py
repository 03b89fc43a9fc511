"""A view of rows reads the same as a copy, and copies nothing before it is read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.pool.row_view import view_rows

MATRIX = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
some_rows = st.lists(st.integers(0, 19), max_size=20)


@given(rows=some_rows, data=st.data())
def test_rows_read_as_a_copy_would(rows: list[int], data: st.DataObject) -> None:
    at = np.array(rows, np.int64)
    view, copy = view_rows(MATRIX, at), MATRIX[at]
    assert len(view) == len(copy)
    assert view.shape == copy.shape
    assert np.array_equal(np.asarray(view), copy)
    start, stop = (data.draw(st.integers(0, 20)) for _ in range(2))
    assert np.array_equal(view[start:stop], copy[start:stop])
    if rows:
        indices = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)), np.int64)
        assert np.array_equal(view[indices], copy[indices])
    assert np.allclose(view @ MATRIX[:4].T, copy @ MATRIX[:4].T)


def test_contiguous_rows_share_the_memory_of_the_matrix() -> None:
    assert np.shares_memory(view_rows(MATRIX, np.arange(3, 9)), MATRIX)
    apart = view_rows(MATRIX, np.array([1, 2, 3, 7]))
    assert np.shares_memory(apart[:3], MATRIX)
