"""Inclusive generation: equal quotas of clusters, and in each the drafts in which a regulated attribute fails.

Hassan, Sicilia and Alikhani, "An Active Learning Framework for Inclusive Generation by Large Language Models" (COLING
2025): the learner G writes a text G(x) for each candidate x, an auxiliary model R maps it to a score for the regulated
attribute H, and E = softmax(R(G(x), H)). Each cluster of the pool has an equal quota, and the most informative
candidates of a cluster are chosen. Informative is one of two: the attribute is least satisfied, or R is most uncertain.

`Pool.draft_failures` are probabilities p that H fails. The softmax over the candidates of a cluster keeps their order,
so the least satisfied candidates are those with the highest p; R is most uncertain where 1 - |2p - 1| is highest.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Pool, Selection
from plugins.acquisition.clusters import clusters_of, members
from plugins.acquisition.deduplication import available_rows, take_in_turns


class Inclusive:
    """Uses the clusters of the pool, or makes some. If the places cannot be divided equally, the clusters with the most
    informative candidates have one more. Ranks by the doubt of the learner while no attribute model judges the drafts,
    and draws at random without a learner."""

    needs_draft_failures = True

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        uncertainties: Floats = np.full(len(pool.vectors), np.nan, dtype=np.float32)
        if k <= 0 or not len(rows):
            return Selection(rows[:0], uncertainties[:0])
        uncertainties[rows] = pool.uncertainty("margin", rows)
        clustering = clusters_of(pool, seed)
        information = informativeness(pool, rows, seed)
        order = rows[np.argsort(-information[rows], kind="stable")]
        queues = sorted(members(clustering.assignment, order), key=lambda queue: -information[queue[0]])
        chosen = take_in_turns(pool, queues, k)
        return Selection(chosen, uncertainties[chosen], "the same share of each cluster")


def informativeness(pool: Pool, rows: Ints, seed: int) -> Floats:
    """(n,) the value by which the candidates `rows` are ranked."""
    if pool.predictions is None:
        return np.random.default_rng(seed).random(len(pool.vectors), np.float32)
    if pool.draft_failures is None or pool.inclusive_by == "doubt":
        doubts: Floats = np.zeros(len(pool.vectors), np.float32)
        doubts[rows] = pool.uncertainty("margin", rows)
        return doubts
    failures = pool.draft_failures
    return failures if pool.inclusive_by == "attribute-least" else 1 - np.abs(2 * failures - 1)
