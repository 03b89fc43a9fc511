"""Selects the tasks of the queue by the query strategy, with a share of places reserved for groups with high errors.

The loop and the simulation both use this module, so that a simulation selects as the loop does.

If words count as the cost of a task, the expected gain per word decides, as in Settles, Craven, Friedland, "Active
Learning with Real Annotation Costs" and Haertel, Seppi, Ringger, Carroll, "Return on Investment for Active Learning"
(NIPS Workshop on Cost-Sensitive Learning, 2008). Most strategies have no gain in numbers, but an order. As in the rank
combination of Tomanek and Hahn, "A Comparison of Models for Cost-Sensitive Active Learning" (COLING 2010), the place in
that order stands for the gain. To select k rows, the strategy first selects a shortlist of m rows, SHORTLIST k or all
that there are, as if all tasks cost the same. Of these, the k rows are selected that have the highest

    (1 - (r - 1) / m) / (words + WORDS_OF_A_TASK)

where r is the place of a row in the shortlist, from 1. A row outside the shortlist counts as no gain: so the shortest
texts of the pool, in which there is often nothing to mark, do not fill the queue. Random order stays as it is, because
the places of a random draw say nothing of a gain.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Mask, Pool, Selection
from ml_backend.core.ports import Acquisition
from ml_backend.core.settings import ProjectSettings

ERROR_TOLERANCE = 1e-9
SHORTLIST = 4
"""Rows of the shortlist for each row that is selected."""
WORDS_OF_A_TASK = 3.0
"""The cost of a task besides its words: opening and submitting it takes as long as reading so many words. The model of
Haertel, Ringger, Seppi, Carroll, McClanahan, "Assessing the Costs of Sampling Methods in Active Learning for
Annotation" (ACL 2008) has 12.57 seconds for a task and 3.795 for a word."""


def select_queries(options: ProjectSettings, pool: Pool, groups: Ints | None, k: int, seed: int) -> Selection:
    """Selects k rows by the project's query strategy and, if `pool.words` is given, by their cost. The setting
    `balance` is the share of rows that come from the groups whose mean error is above that of all labelled rows.
    `groups` (n,): the group of each row, numbered from 0, if the project names a field; None to take the clusters as
    groups."""
    select = partial(_select, registry.acquisition(options.acquisition))
    if options.acquisition == registry.RANDOM_ORDER:
        pool = replace(pool, words=None)
    groups = groups if groups is not None or pool.clustering is None else pool.clustering.assignment
    is_weak = None if groups is None else _in_weak_groups(pool, groups)
    reserved = round(options.balance * k)
    if not reserved or is_weak is None:
        return select(pool, k, seed)
    weak = select(replace(pool, available=pool.available & is_weak), reserved, seed)
    others = select(pool.with_selected(weak.rows), k - len(weak.rows), seed)
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


def _select(strategy: Acquisition, pool: Pool, k: int, seed: int) -> Selection:
    """Selects k rows by a strategy; if words are a cost, those of a shortlist that promise most for a word."""
    if pool.words is None:
        return strategy.select(pool, k, seed)
    shortlist = strategy.select(pool, SHORTLIST * k, seed)
    gains = 1 - np.arange(len(shortlist.rows)) / max(len(shortlist.rows), 1)
    gains_per_word = gains / (pool.words[shortlist.rows] + WORDS_OF_A_TASK)
    return shortlist.at(np.argsort(-gains_per_word, kind="stable")[: max(k, 0)])


def _in_weak_groups(pool: Pool, groups: Ints) -> Mask | None:
    """(n,) bool: rows of groups whose mean error is above that of all labelled rows; None if no error is known."""
    errors = pool.mean_errors_by_group(groups, int(groups.max(initial=0)) + 1)
    if errors is None or pool.errors is None:
        return None
    return np.asarray((errors > np.nanmean(pool.errors, dtype=np.float64) + ERROR_TOLERANCE)[groups])
