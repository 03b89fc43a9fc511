"""The groups of tasks for which results are compared: clusters, or the values of a field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.core import registry
from ml_backend.core.arrays import Ints
from ml_backend.pool.pool_snapshot import PoolContents

NO_GROUP = "(none)"


def task_group_names(pool: PoolContents, field: str, rows: Ints) -> npt.NDArray[np.str_]:
    """(n,) the name of the group of each of n encoded rows: the value of a field of the tasks' data or records, or the
    cluster if `field` is ""."""
    if field:
        return np.array([name or NO_GROUP for name in pool.group_names(field, rows)], np.str_)
    view = pool.encoded_view()
    clusters = pool.clusters(view, registry.clusterer())
    if clusters is None:
        return np.array([NO_GROUP] * len(rows), np.str_)
    return np.char.add("cluster ", (clusters.assignment[np.searchsorted(view.rows, rows)] + 1).astype(np.str_))
