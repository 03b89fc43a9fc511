"""The strategies that scikit-activeml has, too, choose the same rows.

It breaks ties at random, so the pools here have none, or the comparison does not depend on them. BADGE draws, so the
probabilities of the next row are compared. It has neither D-CALM nor Rep-ClUn; herding with equal weights is
MaxHerding.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from pools import choices_of, make_pool

from ml_backend.core.arrays import Floats, Ints, Pool
from plugins.acquisition.badge import Gradients, gradient_residuals
from plugins.acquisition.cluster_uncertainty import ClusterUncertainty, kernel_scale
from plugins.acquisition.clusters import cut
from plugins.acquisition.k_center import KCenter
from plugins.acquisition.most_uncertain import Entropy, LeastConfidence, Margin
from plugins.acquisition.typicality import NEIGHBOURS, Typicality, typicality

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings of its dependencies
    from skactiveml import pool as theirs
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import _typi_clust


class Fixed(SkactivemlClassifier):  # type: ignore[misc]
    """Predicts for each known vector the probabilities of the pool."""

    def __init__(self, pool: Pool | None = None, classes: Any = None, missing_label: float = np.nan) -> None:
        super().__init__(classes=classes, missing_label=missing_label)
        self.pool = pool

    def fit(self, x: Floats, y: Floats) -> Fixed:
        return self

    def predict_proba(self, x: Floats) -> Floats:
        assert self.pool is not None
        rows = [int(np.abs(self.pool.vectors - vector).sum(axis=1).argmin()) for vector in x]
        return np.asarray(choices_of(self.pool).probabilities[rows], dtype=np.float64)


def labels_for_skactiveml(pool: Pool) -> Floats:
    """Returns labels as scikit-activeml wants them: NaN in rows without a label. All other rows of these pools are
    available."""
    return np.where(pool.labelled, np.arange(len(pool.vectors)) % 3, np.nan)


def query(strategy: Any, pool: Pool, k: int, **values: Any) -> tuple[Ints, Floats]:
    rows, utilities = strategy.query(
        pool.vectors.astype(np.float64), labels_for_skactiveml(pool), batch_size=k, return_utilities=True, **values
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
    """scikit-activeml's strategy takes any clustering."""

    def __init__(self, n_clusters: int) -> None:
        self._k = n_clusters

    def fit_predict(self, x: Floats) -> Ints:
        return cut(x.astype(np.float32), self._k, 0).assignment


def test_typiclust_chooses_the_same_of_the_same_clusters() -> None:
    for seed in range(4):
        pool = make_pool(90, labelled=0.1, free=1.0, seed=seed)
        rows, _ = query(theirs.TypiClust(cluster_algo=OurClusters, k=NEIGHBOURS, random_state=0), pool, 8)
        chosen = Typicality().select(pool, 8, 0).rows
        assignment = OurClusters(int(pool.labelled.sum()) + 8).fit_predict(pool.vectors)
        sizes = np.bincount(assignment)
        assert sizes[assignment[rows]].tolist() == sizes[assignment[chosen]].tolist(), (
            "the largest clusters without a label"
        )
        best = {int(assignment[row]): int(row) for row in rows}
        common = [
            row for row in chosen.tolist() if assignment[row] in best
        ]  # among equally large clusters, any may be the last
        assert len(common) >= 5
        assert all(best[int(assignment[row])] == row for row in common)


def test_badge_draws_with_the_same_chances() -> None:
    """The first step is excluded: scikit-activeml takes the length of each gradient as its distance from a centre at
    the origin, and neither the authors' code nor ours does. Here the bounds start with these lengths."""
    for seed in range(4):
        pool = make_pool(40, 4, free=1.0, seed=seed)
        rows, utilities = query(theirs.Badge(random_state=seed), pool, 6, clf=Fixed(pool), fit_clf=False)
        free = np.flatnonzero(pool.available)
        gradients = Gradients(pool.vectors, free, gradient_residuals(pool, free))
        assert free[gradients.squares.argmax()] == rows[0]
        bounds = gradients.squares.copy()
        for place, chances in zip(np.searchsorted(free, rows), utilities[1:], strict=False):
            bounds = gradients.nearest(np.array([place]), bounds)
            np.testing.assert_allclose(bounds / bounds.sum(), np.nan_to_num(chances[free]), atol=1e-5)


def test_herding_before_there_is_a_learner_is_max_herding() -> None:
    for seed in range(4):
        pool = make_pool(70, cold=True, free=1.0, seed=seed)
        distances = ((pool.vectors[:, None] - pool.vectors) ** 2).sum(axis=2)
        strategy = theirs.MaxHerding(metric="rbf", metric_dict={"gamma": 1 / kernel_scale(distances)}, random_state=0)
        rows, _ = query(strategy, pool, 12)
        assert ClusterUncertainty().select(pool, 12, seed).rows.tolist() == rows.tolist()
