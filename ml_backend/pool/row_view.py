"""Some rows of a matrix, as an array that is not copied before somebody reads it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ml_backend.core.types import Floats, Ints

AT_ONCE = 8192  # rows copied at a time for a product


class RowView:
    """`matrix` (n, d) seen at `rows` (m,): its length, shape, `[places]` and product with a matrix; numpy's functions
    copy it whole. The matrix must not change in these rows."""

    def __init__(self, matrix: Floats, rows: Ints) -> None:
        self._matrix, self._rows = matrix, rows
        self.shape = (len(rows), matrix.shape[1])
        self.dtype, self.ndim = matrix.dtype, 2

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Any) -> Floats:
        """The rows at `places`, of the first axis alone; without a copy if they stand one after the other."""
        rows = self._rows[places]
        if isinstance(places, slice) and _follow_each_other(rows):
            return self._matrix[rows[0] : rows[-1] + 1] if len(rows) else self._matrix[:0]
        return np.asarray(self._matrix[rows])

    def __matmul__(self, other: Floats) -> Floats:
        parts = [self[start : start + AT_ONCE] @ other for start in range(0, max(len(self), 1), AT_ONCE)]
        return np.concatenate(parts)

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> Floats:
        return np.asarray(self._matrix[self._rows], dtype)


def rows_of(matrix: Floats, rows: Ints) -> Floats:
    """`matrix` at `rows`, without a copy. Whoever asks for the vectors of a pool reads them by rows."""
    if len(rows) and _follow_each_other(rows):
        return matrix[rows[0] : rows[-1] + 1]
    return cast("Floats", RowView(matrix, rows))


def _follow_each_other(rows: Ints) -> bool:
    return not len(rows) or bool(rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all())
