"""The groups that tasks are compared by: clusters, or the values of a field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend import registry
from ml_backend.domain import Ints
from ml_backend.pool import ProjectPool
from ml_backend.store import Store

NO_GROUP = "(none)"


def groups_of(store: Store, pool: ProjectPool, field: str, project: int, rows: Ints) -> npt.NDArray[np.str_]:
    """(n,) the name of the group of each of some encoded rows, by a field of the tasks' data or, if "", by cluster."""
    if field:
        tasks = pool.tasks[rows].tolist()
        values = store.tasks.values(project, field, tasks)
        return np.array([values.get(task, NO_GROUP) for task in tasks], np.str_)
    view = pool.encoded_view()
    clusters = pool.clusters(view, registry.clusterer())
    if clusters is None:
        return np.array([NO_GROUP] * len(rows), np.str_)
    return np.char.add("cluster ", (clusters.assignment[np.searchsorted(view.rows, rows)] + 1).astype(np.str_))
