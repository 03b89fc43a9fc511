"""Which tasks next: what acquisition is shown of a project, and the share of places kept for where the learner is weak.

The live loop and the simulator choose through here, so that what was simulated is what will happen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Clustering, Floats, Ints, Mask, Nearest, Pool, Selection, TaskSchema
from ml_backend.model.fitted_model import FittedModel

ROUNDING = 1e-9


def pool_of(
    schema: TaskSchema,
    learner: FittedModel | None,
    tasks: Ints,
    vectors: Floats,
    labelled: Mask,
    free: Mask,
    clustering: Clustering | None,
    nearest: Nearest | None = None,
) -> Pool:
    """The pool of `tasks` (n,), ascending, as acquisition sees it; `free` (n,): the tasks that may be served."""
    return Pool(
        vectors=vectors,
        probabilities=learner.predict(schema, vectors) if learner else None,
        labelled=labelled,
        available=free,
        multiple=schema.multiple,
        errors=learner.errors(tasks) if learner else None,
        clustering=clustering,
        nearest=nearest,
    )


def choose(options: ProjectSettings, pool: Pool, groups: Ints | None, k: int, seed: int) -> Selection:
    """k rows by the project's strategy. With `balance`, that share of them from the groups that err more than all do
    together: clusters, or `groups` (n,) numbered from 0 where the project names a field."""
    strategy = registry.acquisition(options.acquisition)
    groups = groups if groups is not None or pool.clustering is None else pool.clustering.assignment
    weak = None if groups is None else _weak(pool, groups)
    kept = round(options.balance * k)
    if not kept or weak is None:
        return strategy.select(pool, k, seed)
    first = strategy.select(replace(pool, available=pool.available & weak), kept, seed)
    rest = strategy.select(pool.without(first.rows), k - len(first.rows), seed)
    # anywhere in the queue: of a long one, only the head is labelled before the next round
    n = len(first.rows) + len(rest.rows)
    for_weak = np.random.default_rng(seed).permutation(n) < len(first.rows)
    order = np.empty(n, np.int64)
    order[for_weak] = np.arange(len(first.rows))
    order[~for_weak] = np.arange(len(first.rows), n)
    return Selection(
        np.concatenate([first.rows, rest.rows])[order],
        np.concatenate([first.uncertainty, rest.uncertainty])[order],
        first.ground,
    )


def _weak(pool: Pool, groups: Ints) -> Mask | None:
    """(n,) bool: the rows of groups whose mean error is above that of all labels; None as long as nobody can tell."""
    errors = pool.errors_by(groups, int(groups.max(initial=0)) + 1)
    if errors is None or pool.errors is None:
        return None
    return np.asarray((errors > np.nanmean(pool.errors, dtype=np.float64) + ROUNDING)[groups])
