"""The strategies that scikit-activeml has, too, choose what it chooses.

It breaks ties at random, so the pools here have none, or what is compared does not depend on them. BADGE draws, so the
chances of the next row are compared. D-CALM and Rep-ClUn are not in it; herding with all weights equal is MaxHerding.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from pools import make_pool

from ml_backend.core.types import Floats, Ints, Pool
from plugins.acquisition.badge import Gradients, _residuals
from plugins.acquisition.cluster_uncertainty import ClusterUncertainty, reach_of
from plugins.acquisition.clusters import cut
from plugins.acquisition.k_center import KCenter
from plugins.acquisition.most_uncertain import Entropy, LeastConfidence, Margin
from plugins.acquisition.typicality import NEIGHBOURS, Typicality, typicality

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies
    from skactiveml import pool as theirs
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import _typi_clust


class Fixed(SkactivemlClassifier):  # type: ignore[misc]
    """Says of each known vector what the pool says of it."""

    def __init__(self, pool: Pool | None = None, classes: Any = None, missing_label: float = np.nan) -> None:
        super().__init__(classes=classes, missing_label=missing_label)
        self.pool = pool

    def fit(self, x: Floats, y: Floats) -> Fixed:
        return self

    def predict_proba(self, x: Floats) -> Floats:
        assert self.pool is not None and self.pool.probabilities is not None
        rows = [int(np.abs(self.pool.vectors - vector).sum(axis=1).argmin()) for vector in x]
        return np.asarray(self.pool.probabilities[rows], dtype=np.float64)


def answers(pool: Pool) -> Floats:
    """Their way to say which rows have a label; and all others of these pools may be chosen."""
    return np.where(pool.labelled, np.arange(len(pool.vectors)) % 3, np.nan)


def query(strategy: Any, pool: Pool, k: int, **values: Any) -> tuple[Ints, Floats]:
    rows, utilities = strategy.query(
        pool.vectors.astype(np.float64), answers(pool), batch_size=k, return_utilities=True, **values
    )
    return np.asarray(rows), np.asarray(utilities)


@pytest.mark.parametrize(
    ("ours", "method"),
    [(LeastConfidence, "least_confident"), (Margin, "margin_sampling"), (Entropy, "entropy")],
)
@pytest.mark.parametrize("c", [2, 3, 7])
def test_the_most_uncertain_rows_are_the_same(ours: Any, method: str, c: int) -> None:
    for seed in range(4):
        pool = make_pool(60, c, free=1.0, seed=seed)
        rows, _ = query(
            theirs.UncertaintySampling(method=method, random_state=0), pool, 10, clf=Fixed(pool), fit_clf=False
        )
        assert ours().select(pool, 10, 0).rows.tolist() == rows.tolist()


def test_k_center_covers_with_the_same_radii() -> None:
    for seed in range(4):
        pool = make_pool(80, free=1.0, seed=seed)
        rows, utilities = query(theirs.CoreSet(random_state=0), pool, 20)
        radii = np.nanmax(utilities, axis=1)
        chosen = KCenter().select(pool, 20, 0).rows
        covered = np.flatnonzero(pool.labelled).tolist()
        for row, radius in zip(chosen.tolist(), radii, strict=True):
            assert np.linalg.norm(pool.vectors[row] - pool.vectors[covered], axis=1).min() == pytest.approx(
                radius, 1e-4
            )
            covered.append(row)
        assert chosen.tolist() == rows.tolist()


def test_typicality_is_the_same() -> None:
    for n in (2, 5, 21, 22, 60):
        vectors = make_pool(n, seed=n).vectors
        exact = _typi_clust._typicality(vectors.astype(np.float64), np.arange(n), NEIGHBOURS)
        np.testing.assert_allclose(typicality(vectors), exact, rtol=1e-3)


class OurClusters:
    """Their strategy takes any clustering."""

    def __init__(self, n_clusters: int) -> None:
        self._k = n_clusters

    def fit_predict(self, x: Floats) -> Ints:
        return cut(x.astype(np.float32), self._k, 0).assignment


def test_typiclust_chooses_the_same_of_the_same_clusters() -> None:
    for seed in range(4):
        pool = make_pool(90, labelled=0.1, free=1.0, seed=seed)
        rows, _ = query(theirs.TypiClust(cluster_algo=OurClusters, k=NEIGHBOURS, random_state=0), pool, 8)
        chosen = Typicality().select(pool, 8, 0).rows
        of = OurClusters(int(pool.labelled.sum()) + 8).fit_predict(pool.vectors)
        sizes = np.bincount(of)
        assert sizes[of[rows]].tolist() == sizes[of[chosen]].tolist(), "the largest clusters without a label"
        best = {int(of[row]): int(row) for row in rows}
        both = [row for row in chosen.tolist() if of[row] in best]  # of equally large ones, any may be the last
        assert len(both) >= 5
        assert all(best[int(of[row])] == row for row in both)


def test_badge_draws_with_the_same_chances() -> None:
    """But for their first step, which takes the length of each gradient for its distance from a centre at the origin.
    The authors' code does not, nor does ours: here it is told to, from outside."""
    for seed in range(4):
        pool = make_pool(40, 4, free=1.0, seed=seed)
        rows, utilities = query(theirs.Badge(random_state=seed), pool, 6, clf=Fixed(pool), fit_clf=False)
        free = np.flatnonzero(pool.available)
        gradients = Gradients(pool.vectors, free, _residuals(pool, free))
        assert free[gradients.squares.argmax()] == rows[0]
        bound = gradients.squares.copy()
        for before, chances in zip(np.searchsorted(free, rows), utilities[1:], strict=False):
            bound = gradients.nearest(np.array([before]), bound)
            np.testing.assert_allclose(bound / bound.sum(), np.nan_to_num(chances[free]), atol=1e-5)


def test_herding_before_there_is_a_learner_is_max_herding() -> None:
    for seed in range(4):
        pool = make_pool(70, cold=True, free=1.0, seed=seed)
        distances = ((pool.vectors[:, None] - pool.vectors) ** 2).sum(axis=2)
        strategy = theirs.MaxHerding(metric="rbf", metric_dict={"gamma": 1 / reach_of(distances)}, random_state=0)
        rows, _ = query(strategy, pool, 12)
        assert ClusterUncertainty().select(pool, 12, seed).rows.tolist() == rows.tolist()
