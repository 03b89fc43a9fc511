"""The default: one task of each neighbourhood of the pool, where the most uncertainty is not yet represented by labels.

Method A, clusters with an equal quota and the most informative of each: Hassan, Sicilia, Alikhani, "An Active Learning
Framework for Inclusive Generation by Large Language Models" (COLING 2025), after D-CALM (ACL Findings 2023). A fixed
partition wastes places on clusters that are learnt already, and may choose two similar tasks at a border. So the
clusters are soft here and recomputed for each choice: a task represents its neighbours by a Gaussian kernel, and the
tasks that a labelled or chosen task represents are covered. The next task is the one that covers most of the
uncertainty:

    argmax_j  sum_i u_i max(K_ij - a_i, 0),   a_i = max over labelled and chosen l of K_il,   K = exp(-|x - x'|^2 / r)

Bae, Noh, Sutherland, "Uncertainty Herding: One Active Learning Method for All Label Budgets" (ICLR 2025), eq. 3 to 5.
Two texts that count as duplicates cover each other in full, so that repetitions gain nothing. With all u_i equal,
without a learner, it covers the pool (a typicality start). On development data it beat the same with a hard quota for
each of 30 clusters by 1 point of area under the curve, and plain margins by 2 to 10.
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask, Pool, Selection
from plugins.acquisition.deduplication import DUPLICATE_COSINE, available_rows, known_distances
from plugins.acquisition.uncertainty import margin_uncertainty

MAX_CANDIDATES = 2000
"""Rows drawn with a probability that grows with their uncertainty; each also has the weight of rows that were not
drawn."""
KERNEL_REACH = 0.3
"""r as a share of the median squared distance of two different tasks."""
MAX_CHOSEN_PER_DRAW = 500
"""Tasks that are chosen before the candidates are drawn again."""
MIN_UNCERTAINTY = 1e-3
"""Weight of a task without any uncertainty."""
CHUNK_ROWS = 512


class ClusterUncertainty:
    """Estimates the median distance and draws the candidates from samples: the time hardly grows with the pool."""

    _weights_by_uncertainty = True

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        k = min(max(k, 0), len(rows))
        uncertainty = margin_uncertainty(pool, rows)
        weights = (
            uncertainty + MIN_UNCERTAINTY
            if self._weights_by_uncertainty and pool.probabilities is not None
            else np.ones(len(rows))
        )
        random = np.random.default_rng(seed)
        chosen: Ints = np.empty(0, dtype=np.int64)  # places in rows
        is_left: Mask = np.ones(len(rows), dtype=np.bool_)  # neither chosen nor known to be fully covered
        while len(chosen) < k and is_left.any():
            keys = np.append(random.exponential(size=len(rows)) / weights, np.inf)
            keys[:-1][~is_left] = np.inf
            order = np.argpartition(keys, m := min(MAX_CANDIDATES, int(is_left.sum())))
            candidates = np.sort(order[:m])  # the smallest keys: a draw without replacement
            # Horvitz-Thompson weight: the weight over the probability of a key below the first that was not drawn
            candidate_weights = weights[candidates] / -np.expm1(-weights[candidates] * keys[order[m]])
            labelled_distances, labelled = known_distances(pool, rows[candidates])
            represented = np.concatenate([labelled, rows[chosen]])
            count = min(k - len(chosen), MAX_CHOSEN_PER_DRAW, m)
            places = greedy_herding(
                pool.vectors, rows[candidates], candidate_weights, represented, count, labelled_distances
            )
            chosen = np.concatenate([chosen, candidates[places]])
            is_left[candidates[places] if len(places) == count else candidates] = False
        chosen = np.concatenate([chosen, np.delete(np.arange(len(rows)), chosen)[: k - len(chosen)]])
        return Selection(rows[chosen], uncertainty[chosen], "typical of the tasks without a label")


class Coverage(ClusterUncertainty):
    """The same with all u_i equal, whatever the learner predicts: for the choice of tasks that the teacher labels. A
    teacher errs on the same tasks as the learner; on development data, 200 teacher labels chosen so were worth 3 to 6
    points more than others (typical, far apart, random ones; 5 more than uncertain ones)."""

    _weights_by_uncertainty = False


def greedy_herding(
    vectors: Floats, rows: Ints, weights: Floats, represented: Ints, k: int, known_squares: Floats | None = None
) -> Ints:  # fmt: skip
    """Returns at most k places in `rows` (m,) of `vectors` (n, d), chosen greedily to cover most of their `weights`
    (m,); fewer if those cover all. `represented`: rows that are labelled or chosen. `known_squares` (m,): the squared
    distance of each row to the nearest of other labelled rows."""
    x = np.asarray(vectors[rows], dtype=np.float32)
    distances = _squared_distances(x, x)
    scale = kernel_scale(distances)
    kernel: Floats = np.exp(np.divide(distances, -scale, out=distances), out=distances)
    coverage: Floats = np.zeros(len(rows), dtype=np.float32)
    if known_squares is not None:
        coverage = np.exp(-_zero_for_duplicates(known_squares.copy()) / scale)
    for start in range(0, len(represented), CHUNK_ROWS):
        known_squares = _squared_distances(
            x, np.asarray(vectors[represented[start : start + CHUNK_ROWS]], dtype=np.float32)
        ).min(axis=1)
        coverage = np.maximum(coverage, np.exp(-known_squares / scale))
    chosen: Ints = np.empty(k, dtype=np.int64)
    gains: Floats = np.empty(len(rows), np.result_type(kernel, weights))
    for start in range(0, len(rows), CHUNK_ROWS):
        uncovered = kernel[start : start + CHUNK_ROWS] - coverage
        gains[start : start + CHUNK_ROWS] = np.maximum(uncovered, 0.0, out=uncovered) @ weights
    for n in range(k):
        # gains only fall as coverage grows: the first updated gain that is still the highest is the maximum
        while True:
            place = int(gains.argmax())
            gain = np.maximum(kernel[place] - coverage, 0.0) @ weights
            is_stale = gains[place] > gain
            gains[place] = gain
            if not is_stale or gain >= gains.max():
                break
        if gain <= 0.0:
            return chosen[:n]
        chosen[n] = place
        coverage = np.maximum(coverage, kernel[place])
        gains[place] = -1.0
    return chosen


def kernel_scale(distances: Floats) -> np.float32:
    """Returns r for squared `distances` (m, m), from a part of them; 1 if all texts are duplicates."""
    sample = distances[::7, ::3]
    sample = sample[sample > 0]
    return np.float32(KERNEL_REACH * np.median(sample) if len(sample) else 1.0)


def _squared_distances(a: Floats, b: Floats) -> Floats:
    """Returns the squared distances (n, h); exactly 0 between duplicates."""
    squared = a @ b.T
    squared *= -2.0
    squared += np.square(a).sum(axis=1)[:, None]
    squared += np.square(b).sum(axis=1)
    return _zero_for_duplicates(squared)


def _zero_for_duplicates(distances: Floats) -> Floats:
    """Sets the squared distances between duplicates to 0, in place."""
    distances[distances < 2.0 * (1.0 - DUPLICATE_COSINE)] = 0.0
    return distances
