"""Selects the tasks of the queue by the query strategy, with a share of places reserved for groups with high errors.

The loop and the simulation both use this module, so that a simulation selects as the loop does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Mask, Pool, Selection
from ml_backend.core.settings import ProjectSettings

ERROR_TOLERANCE = 1e-9


def select_queries(options: ProjectSettings, pool: Pool, groups: Ints | None, k: int, seed: int) -> Selection:
    """Selects k rows by the project's query strategy. The setting `balance` is the share of rows that come from the
    groups whose mean error is above that of all labelled rows. `groups` (n,): the group of each row, numbered from 0,
    if the project names a field; None to take the clusters as groups."""
    strategy = registry.acquisition(options.acquisition)
    groups = groups if groups is not None or pool.clustering is None else pool.clustering.assignment
    is_weak = None if groups is None else _in_weak_groups(pool, groups)
    reserved = round(options.balance * k)
    if not reserved or is_weak is None:
        return strategy.select(pool, k, seed)
    weak = strategy.select(replace(pool, available=pool.available & is_weak), reserved, seed)
    others = strategy.select(pool.with_selected(weak.rows), k - len(weak.rows), seed)
    # at random places: annotators label only the head of the queue before the next round
    n = len(weak.rows) + len(others.rows)
    is_reserved = np.random.default_rng(seed).permutation(n) < len(weak.rows)
    order = np.empty(n, np.int64)
    order[is_reserved] = np.arange(len(weak.rows))
    order[~is_reserved] = np.arange(len(weak.rows), n)
    return Selection(
        np.concatenate([weak.rows, others.rows])[order],
        np.concatenate([weak.uncertainty, others.uncertainty])[order],
        weak.ground,
    )


def _in_weak_groups(pool: Pool, groups: Ints) -> Mask | None:
    """(n,) bool: rows of groups whose mean error is above that of all labelled rows; None if no error is known."""
    errors = pool.mean_errors_by_group(groups, int(groups.max(initial=0)) + 1)
    if errors is None or pool.errors is None:
        return None
    return np.asarray((errors > np.nanmean(pool.errors, dtype=np.float64) + ERROR_TOLERANCE)[groups])
