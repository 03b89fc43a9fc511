"""A view of rows of a matrix that copies rows only when they are read."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints

ROWS_PER_BLOCK = 8192  # rows that a product copies at a time


class RowView:
    """The `rows` (m,) of a `matrix` (n, d), with length, shape, indexing of rows and the product with a matrix.

    Functions of numpy copy the whole view. The rows of the matrix must not change while the view is in use.
    """

    def __init__(self, matrix: Floats, rows: Ints) -> None:
        self._matrix, self._rows = matrix, rows
        self.shape = (len(rows), matrix.shape[1])
        self.dtype, self.ndim = matrix.dtype, 2

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Floats:
        """The rows at `index` of the first axis. Contiguous rows are not copied."""
        rows = self._rows[index]
        if isinstance(index, slice) and _are_contiguous(rows):
            return self._matrix[rows[0] : rows[-1] + 1] if len(rows) else self._matrix[:0]
        return np.asarray(self._matrix[rows])

    def __matmul__(self, other: Floats) -> Floats:
        blocks = [self[start : start + ROWS_PER_BLOCK] @ other for start in range(0, max(len(self), 1), ROWS_PER_BLOCK)]
        return np.concatenate(blocks)

    def __array__(self, dtype: npt.DTypeLike = None, copy: bool | None = None) -> Floats:
        return np.asarray(self._matrix[self._rows], dtype)


def view_rows(matrix: Floats, rows: Ints) -> Floats:
    """The `rows` of a `matrix`, not copied: a slice of the matrix if they are contiguous, else a RowView."""
    if len(rows) and _are_contiguous(rows):
        return matrix[rows[0] : rows[-1] + 1]
    return cast("Floats", RowView(matrix, rows))


def _are_contiguous(rows: Ints) -> bool:
    return not len(rows) or bool(rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all())
