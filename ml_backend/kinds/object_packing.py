"""Packs rows of tuples into tensors, as JSON."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Rows, as_tuples, object_rows


def pack(rows: Rows) -> npt.NDArray[np.uint8]:
    """The rows (n,) as bytes."""
    return np.frombuffer(json.dumps(rows.tolist(), ensure_ascii=False).encode("utf-8", "surrogatepass"), np.uint8)


def unpack(tensor: npt.NDArray[np.generic]) -> Rows:
    """The inverse of `pack`."""
    return object_rows([as_tuples(row) for row in json.loads(tensor.tobytes().decode("utf-8", "surrogatepass"))])
