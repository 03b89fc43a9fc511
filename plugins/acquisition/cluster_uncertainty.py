"""The default query strategy for texts: chooses tasks that represent most of the uncertainty around them, as far as
labelled tasks do not represent it yet.

The starting point is method A of Hassan, Sicilia, Alikhani, "An Active Learning Framework for Inclusive Generation by
Large Language Models" (COLING 2025), after D-CALM (ACL Findings 2023): clusters with an equal quota, and the most
informative tasks of each. A fixed partition wastes places on clusters that are learnt already, and may choose two
similar tasks at a border. So the clusters are soft here and recomputed for each choice, as in Bae, Noh, Sutherland,
"Uncertainty Herding: One Active Learning Method for All Label Budgets" (ICLR 2025), eq. 3 to 5. A Gaussian kernel K
says how far one task represents another. The coverage a_i of task i is the most that a labelled or chosen task
represents it. The next task j is the one that adds most coverage, weighted by the uncertainties u_i:

    argmax_j  sum_i u_i max(K_ij - a_i, 0),   a_i = max over labelled and chosen l of K_il,   K = exp(-|x - x'|^2 / r)

Two texts that count as duplicates cover each other in full, so that a duplicate adds nothing. Without a learner all
u_i are equal, and the choices cover the pool (a cold start by typicality). On development data, the area under the
learning curve was 1 point higher than with a hard quota for each of 30 clusters, and 2 to 10 points higher than with
plain margins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask, Pool, Selection
from plugins.acquisition.deduplication import DUPLICATE_COSINE, available_rows, known_distances

MAX_CANDIDATES = 2000
"""Maximum number of rows that are compared with each other. They are drawn with probabilities that grow with their
uncertainty, and weighted so that they stand for the rows that were not drawn, too."""
KERNEL_REACH = 0.3
"""r as a share of the median squared distance between two tasks that are no duplicates."""
MAX_CHOSEN_PER_DRAW = 500
"""Maximum number of tasks that are chosen before the candidates are drawn again."""
MIN_UNCERTAINTY = 1e-3
"""Added to each uncertainty: the weight u_i of a task without any uncertainty."""
CHUNK_ROWS = 512
"""Rows of a matrix of distances that are computed at a time, to limit memory."""


class ClusterUncertainty:
    """The query strategy of this module. The time hardly grows with the pool, because the median distance is estimated,
    and tasks are chosen among a sample of candidates."""

    _weights_by_uncertainty = True

    def __init__(self, max_candidates: int = MAX_CANDIDATES, max_chosen_per_draw: int = MAX_CHOSEN_PER_DRAW) -> None:
        self._max_candidates = max_candidates
        self._max_chosen_per_draw = max_chosen_per_draw

    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = available_rows(pool)
        k = min(max(k, 0), len(rows))
        uncertainty = pool.uncertainty("margin", rows)
        weights = (
            uncertainty + MIN_UNCERTAINTY
            if self._weights_by_uncertainty and pool.predictions is not None
            else np.ones(len(rows))
        )
        random = np.random.default_rng(seed)
        chosen: Ints = np.empty(0, dtype=np.int64)  # indices into `rows`, as are `candidates`
        is_left: Mask = np.ones(len(rows), dtype=np.bool_)  # neither chosen nor known to be fully covered
        while len(chosen) < k and is_left.any():
            candidates, candidate_weights = draw_candidates(weights, is_left, self._max_candidates, random)
            labelled_squares, other_labelled = known_distances(pool, rows[candidates])
            represented = np.concatenate([other_labelled, rows[chosen]])
            n_wanted = min(k - len(chosen), self._max_chosen_per_draw, len(candidates))
            places = greedy_herding(
                pool.vectors, rows[candidates], candidate_weights, represented, n_wanted, labelled_squares
            )
            chosen = np.concatenate([chosen, candidates[places]])
            # fewer places than wanted: all candidates are covered
            is_left[candidates[places] if len(places) == n_wanted else candidates] = False
        # if everything is covered, duplicates fill the queue
        chosen = np.concatenate([chosen, np.delete(np.arange(len(rows)), chosen)[: k - len(chosen)]])
        return Selection(rows[chosen], uncertainty[chosen], "typical of the tasks without a label")


class Coverage(ClusterUncertainty):
    """The same strategy with all u_i equal, whatever the learner predicts. It chooses the tasks that the teacher labels
    for the learner: a teacher errs on the same tasks as the learner, so that its labels of uncertain tasks are often
    wrong. On development data, a learner with 200 teacher labels of tasks chosen in this way was 3 to 6 points better
    than with those of typical, distant or random tasks, and 5 better than with those of uncertain tasks."""

    _weights_by_uncertainty = False


def draw_candidates(
    weights: npt.NDArray[Any], is_left: Mask, max_candidates: int, random: np.random.Generator
) -> tuple[Ints, Floats]:
    """Draws at most `max_candidates` rows without replacement, of the rows that are left, with probabilities that grow
    with their weights. Returns the rows, ascending, and their weights, which stand for the rows that were not drawn,
    too: the expectation of the weighted sum over the drawn rows is the weighted sum over all rows that are left.

    weights  (n,) positive
    is_left  (n,) bool
    """
    # the rows with the m smallest exponential keys (Efraimidis and Spirakis, "Weighted Random Sampling with a
    # Reservoir", 2006)
    keys = np.append(random.exponential(size=len(weights)) / weights, np.inf)
    keys[:-1][~is_left] = np.inf
    order = np.argpartition(keys, m := min(max_candidates, int(is_left.sum())))
    candidates = np.sort(order[:m])
    # Horvitz-Thompson weights: a candidate's weight divided by the probability that it was drawn, which is the
    # probability of a key below the smallest key that was not drawn
    return candidates, weights[candidates] / -np.expm1(-weights[candidates] * keys[order[m]])


def greedy_herding(
    vectors: Floats, rows: Ints, weights: Floats, represented: Ints, k: int, known_squares: Floats | None = None
) -> Ints:  # fmt: skip
    """Chooses rows greedily so that they cover most of the weights. Returns at most k indices into `rows`; fewer if
    these cover everything.

    vectors        (n, d) of the pool
    rows           (m,) rows of `vectors` to choose from
    weights        (m,) u_i of these rows
    represented    rows of `vectors` that are labelled or chosen
    known_squares  (m,) squared distance of each of `rows` to the nearest labelled row that is not in `represented`, or
                   None
    """
    x = np.asarray(vectors[rows], dtype=np.float32)
    distances = _squared_distances(x, x)
    scale = kernel_scale(distances)
    kernel: Floats = np.exp(np.divide(distances, -scale, out=distances), out=distances)
    coverage: Floats = np.zeros(len(rows), dtype=np.float32)
    if known_squares is not None:
        coverage = np.exp(-_zero_for_duplicates(known_squares.copy()) / scale)
    for start in range(0, len(represented), CHUNK_ROWS):
        nearest_squares = _squared_distances(
            x, np.asarray(vectors[represented[start : start + CHUNK_ROWS]], dtype=np.float32)
        ).min(axis=1)
        coverage = np.maximum(coverage, np.exp(-nearest_squares / scale))
    chosen: Ints = np.empty(k, dtype=np.int64)
    gains: Floats = np.empty(len(rows), np.result_type(kernel, weights))
    for start in range(0, len(rows), CHUNK_ROWS):
        uncovered = kernel[start : start + CHUNK_ROWS] - coverage
        gains[start : start + CHUNK_ROWS] = np.maximum(uncovered, 0.0, out=uncovered) @ weights
    for n in range(k):
        # gains only fall as coverage grows, so a stored gain is an upper bound (lazy greedy): once the highest stored
        # gain is up to date, it is the maximum
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
    """Returns r for squared `distances` (m, m), estimated from a part of them; 1 if that part has only duplicates."""
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
