"""The default: one task of each neighbourhood of the pool, where most uncertainty is left unanswered.

Method A, clusters with an equal quota and the most informative of each: Hassan, Sicilia, Alikhani, "An Active Learning
Framework for Inclusive Generation by Large Language Models" (COLING 2025), after D-CALM (ACL Findings 2023). A fixed
partition wastes places on clusters that are learnt and lets two tasks at a border say the same, so the clusters are
soft here and cut as they are needed: a task speaks for its neighbours as far as a Gaussian kernel reaches, and what a
labelled or chosen task speaks for is answered already. The next task is the one that answers most of the uncertainty:

    argmax_j  sum_i u_i max(K_ij - a_i, 0),   a_i = max over labelled and chosen l of K_il,   K = exp(-|x - x'|^2 / r)

Bae, Noh, Sutherland, "Uncertainty Herding: One Active Learning Method for All Label Budgets" (ICLR 2025), eq. 3 to 5.
Two texts that count as one speak for each other in full, so that nothing is left for repetitions.
With all u_i equal, before there is a learner, it covers the pool (a typicality start). On development data it beat
the same with a hard quota for each of 30 clusters by 1 point of area under the curve, and plain margins by 2 to 10.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints, Mask, Pool, Selection
from plugins.acquisition.deduplication import SAME, available, remembered
from plugins.acquisition.uncertainty import unsure_of

CANDIDATES = 2000
"""Rows drawn with a chance that grows with their uncertainty; each stands for as much of it as were not drawn."""
REACH = 0.3
"""r in parts of the median squared distance of two different tasks."""
AT_ONCE = 500
"""Tasks chosen until the candidates are drawn anew."""
FLOOR = 1e-3
"""What the most certain task still counts."""
CHUNK = 512


class ClusterUncertainty:
    """Takes the median distance and the candidates from samples: the time hardly grows with the pool."""

    _by_doubt = True

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available(pool)
        k = min(max(k, 0), len(rows))
        unsure = unsure_of(pool, rows)
        weights = unsure + FLOOR if self._by_doubt and pool.probabilities is not None else np.ones(len(rows))
        random = np.random.default_rng(seed)
        chosen: Ints = np.empty(0, dtype=np.int64)  # places in rows
        left: Mask = np.ones(len(rows), dtype=np.bool_)  # neither chosen nor known to be answered in full
        while len(chosen) < k and left.any():
            keys = np.append(random.exponential(size=len(rows)) / weights, np.inf)
            keys[:-1][~left] = np.inf
            order = np.argpartition(keys, m := min(CANDIDATES, int(left.sum())))
            drawn = np.sort(order[:m])  # those with the smallest keys: a draw without repeats
            # what a drawn row stands for: its weight over the chance of a key below the first that was not drawn
            share = weights[drawn] / -np.expm1(-weights[drawn] * keys[order[m]])
            near, labelled = remembered(pool, rows[drawn])
            answered = np.concatenate([labelled, rows[chosen]])
            wanted = min(k - len(chosen), AT_ONCE, m)
            picked = herd(pool.vectors, rows[drawn], share, answered, wanted, near)
            chosen = np.concatenate([chosen, drawn[picked]])
            left[drawn[picked] if len(picked) == wanted else drawn] = False
        chosen = np.concatenate([chosen, np.delete(np.arange(len(rows)), chosen)[: k - len(chosen)]])
        return Selection(rows[chosen], unsure[chosen], "typical of the tasks without a label")


class Coverage(ClusterUncertainty):
    """The same with all u_i equal, whatever the learner thinks: for who labels the pool in its stead. A teacher errs
    where the learner does; on development data, 200 of its labels chosen so were worth 3 to 6 points more than others
    (typical, far apart, random ones; of doubtful ones, 5)."""

    _by_doubt = False


def herd(
    vectors: Floats, rows: Ints, weights: Floats, answered: Ints, k: int, near: Floats | None = None
) -> Ints:  # fmt: skip
    """At most k places in `rows` (m,) of `vectors` (n, d), greedily those that answer most of their `weights` (m,);
    fewer if those answer all. `near` (m,): the squared distance of each to the nearest answered one besides `answered`.
    """
    x = np.asarray(vectors[rows], dtype=np.float32)
    distances = _squared(x, x)
    reach = reach_of(distances)
    kernel: Floats = np.exp(np.divide(distances, -reach, out=distances), out=distances)
    known: Floats = np.zeros(len(rows), dtype=np.float32)
    if near is not None:
        known = np.exp(-_same_is_zero(near.copy()) / reach)
    for start in range(0, len(answered), CHUNK):
        near = _squared(x, np.asarray(vectors[answered[start : start + CHUNK]], dtype=np.float32)).min(axis=1)
        known = np.maximum(known, np.exp(-near / reach))
    chosen: Ints = np.empty(k, dtype=np.int64)
    gains: Floats = np.empty(len(rows), np.result_type(kernel, weights))
    for start in range(0, len(rows), CHUNK):
        left = kernel[start : start + CHUNK] - known
        gains[start : start + CHUNK] = np.maximum(left, 0.0, out=left) @ weights
    for n in range(k):
        # a gain only falls as more is answered: from the top, the first that is still the highest is the one
        while True:
            place = int(gains.argmax())
            now = np.maximum(kernel[place] - known, 0.0) @ weights
            stale = gains[place] > now
            gains[place] = now
            if not stale or now >= gains.max():
                break
        if now <= 0.0:
            return chosen[:n]
        chosen[n] = place
        known = np.maximum(known, kernel[place])
        gains[place] = -1.0
    return chosen


def reach_of(distances: Floats) -> np.float32:
    """r for squared `distances` (m, m), from a part of them; 1 if all texts are the same."""
    apart = distances[::7, ::3]
    apart = apart[apart > 0]
    return np.float32(REACH * np.median(apart) if len(apart) else 1.0)


def _squared(a: Floats, b: Floats) -> Floats:
    """(n, h) squared distances; exactly 0 where two texts count as one."""
    found = a @ b.T
    found *= -2.0
    found += np.square(a).sum(axis=1)[:, None]
    found += np.square(b).sum(axis=1)
    return _same_is_zero(found)


def _same_is_zero(distances: Floats) -> Floats:
    """Squared distances, in place, 0 where two texts count as one."""
    distances[distances < 2.0 * (1.0 - SAME)] = 0.0
    return distances
