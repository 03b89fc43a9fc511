"""BADGE over factors, compared with explicit gradients and with the exact distribution of k-means++."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import choices_of, make_pool, unit_vectors
from scipy.stats import chi2

from ml_backend.core.arrays import Floats, Ints, Pool
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.kinds.choices.predictions import ChoicePredictions
from plugins.acquisition.badge import Badge, Gradients, gradient_residuals, k_means_plus_plus


def written_out(vectors: Floats, residuals: Floats) -> Floats:
    """Returns each gradient as an explicit outer product (n, c * d)."""
    rows = [
        [float(r) * float(x) for r in residual for x in vector]
        for residual, vector in zip(residuals, vectors, strict=True)
    ]
    return np.array(rows).reshape(len(vectors), -1)


def residuals_by_hand(pool: Pool) -> Floats:
    """p - y, where y is the answer that the learner would give."""
    predictions = choices_of(pool)
    out = []
    for row in predictions.probabilities.tolist():
        answer = (
            [float(p >= 0.5) for p in row]
            if predictions.multiple
            else [float(i == np.argmax(row)) for i in range(len(row))]
        )
        out.append([p - y for p, y in zip(row, answer, strict=True)])
    return np.array(out, dtype=np.float32)


def squared(gradients: Floats) -> Floats:
    return np.asarray(((gradients[:, None] - gradients) ** 2).sum(axis=2))


@given(
    n=st.integers(2, 30), c=st.integers(1, 5), multiple=st.booleans(), copies=st.booleans(), seed=st.integers(0, 9999)
)
@settings(max_examples=100, deadline=None)
def test_norms_and_distances_equal_those_of_explicit_gradients(
    n: int, c: int, multiple: bool, copies: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    pool = make_pool(n, c, multiple=multiple, seed=seed)
    if copies:
        pool.vectors[:] = pool.vectors[generator.integers(0, max(1, n // 3), n)]
    rows = np.sort(generator.permutation(n)[: max(1, n - 1)])
    residuals = residuals_by_hand(pool)
    np.testing.assert_allclose(gradient_residuals(pool, rows), residuals[rows], atol=1e-6)
    gradients = Gradients(pool.vectors, rows, residuals[rows])
    exact = squared(written_out(pool.vectors, residuals))[np.ix_(rows, rows)]
    np.testing.assert_allclose(gradients.squares, (written_out(pool.vectors, residuals)[rows] ** 2).sum(1), atol=1e-5)
    everyone: Ints = np.arange(len(rows))
    np.testing.assert_allclose(gradients.distances(everyone, everyone), exact, atol=1e-5)
    some = everyone[:: max(1, len(rows) // 3)]
    np.testing.assert_allclose(
        gradients.nearest(some, np.full(len(rows), 0.5, np.float32)), np.minimum(exact[:, some].min(1), 0.5), atol=1e-5
    )


def sequences(
    distances: Floats, chosen: tuple[int, ...], k: int, may_take: Callable[[int], bool]
) -> dict[tuple[int, ...], float]:
    """Returns the probability of every sequence in which k-means++ may continue."""
    if len(chosen) == k:
        return {chosen: 1.0}
    distances_left = np.array([distances[i, list(chosen)].min() * may_take(i) for i in range(len(distances))])
    chances: dict[tuple[int, ...], float] = {}
    for place in np.flatnonzero(distances_left):
        for sequence, chance in sequences(distances, (*chosen, int(place)), k, may_take).items():
            chances[sequence] = float(distances_left[place] / distances_left.sum()) * chance
    return chances


@pytest.mark.parametrize("proposals", [1, 3, 32])
@pytest.mark.parametrize("excluded", [(), (0, 5)], ids=["all", "all but the largest and another"])
def test_rows_are_drawn_by_the_law_of_k_means_plus_plus(proposals: int, excluded: tuple[int, ...]) -> None:
    def may_take(place: int) -> bool:
        return place not in excluded

    generator = np.random.default_rng(3)
    vectors = unit_vectors(7, generator, dim=3)
    residuals = generator.normal(size=(7, 2)).astype(np.float32)
    residuals[0] *= 2
    vectors[4] = vectors[3] + np.float32(0.1) * vectors[1]  # two that are near each other: never both
    residuals[4] = residuals[3]
    gradients = Gradients(vectors, np.arange(7), residuals)
    distances = squared(written_out(vectors, residuals))
    sizes = (written_out(vectors, residuals) ** 2).sum(axis=1)
    first = max(filter(may_take, range(7)), key=lambda place: float(sizes[place]))
    probabilities = sequences(distances, (first,), 3, may_take)
    draws = 1500
    counts_by_sequence = Counter(
        tuple(k_means_plus_plus(gradients, 3, np.random.default_rng(seed), may_take, proposals).tolist())
        for seed in range(draws)
    )
    assert set(counts_by_sequence) <= set(probabilities)
    common = [sequence for sequence, chance in probabilities.items() if chance * draws >= 5]
    expected = [probabilities[sequence] * draws for sequence in common]
    counts = [counts_by_sequence[sequence] for sequence in common]
    rare_expected, rare_count = draws - sum(expected), draws - sum(counts)  # all rare ways as one
    statistic = sum((count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True))
    statistic += (rare_count - rare_expected) ** 2 / max(rare_expected, 1.0)
    assert len(common) > 8
    assert statistic < chi2.ppf(0.999, len(common))


@pytest.mark.parametrize("multiple", [False, True])
def test_the_first_row_has_the_largest_gradient(multiple: bool) -> None:
    for seed in range(20):
        pool = make_pool(40, 4, multiple=multiple, seed=seed)
        sizes = (written_out(pool.vectors, residuals_by_hand(pool)) ** 2).sum(axis=1)
        first = Badge().select(pool, 5, 0).rows[0]
        assert sizes[first] == pytest.approx(sizes[pool.available].max(), rel=1e-5)


def test_before_there_is_a_learner_rows_are_drawn_by_their_vectors() -> None:
    """Two tight groups, one of them large: the second row is of the other group."""
    generator = np.random.default_rng(0)
    group = np.arange(60) % 6 == 0
    vectors = np.where(group[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]) + generator.normal(scale=0.02, size=(60, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    pool = replace(make_pool(60, cold=True, free=1.0), vectors=vectors)
    for seed in range(20):
        first, second = Badge().select(pool, 2, seed).rows
        assert group[first] != group[second]


def test_rows_without_a_gradient_come_after_those_that_have_one() -> None:
    pool = make_pool(30, free=1.0, labelled=0.0)
    shares = choices_of(pool).probabilities
    shares[:] = [1.0, 0.0, 0.0]
    shares[[4, 9, 20]] = [0.5, 0.3, 0.2]
    rows = Badge().select(pool, 30, 0).rows.tolist()
    assert {4, 9, 20} <= set(rows[:4]), "all but at most one row without a gradient come later"
    assert sorted(rows) == list(range(30))


class WithoutProbabilities(ChoicePredictions):
    """The predictions of a kind of label without class probabilities."""

    def gradient_residuals(self, rows: Ints) -> None:  # type: ignore[override]
        return None


def test_predictions_without_class_probabilities_are_refused_and_other_strategies_named() -> None:
    pool = make_pool(30)
    unsupported = WithoutProbabilities(choices_of(pool).probabilities, multiple=False)
    with pytest.raises(ApprenticeError, match=r"badge needs class probabilities.*cluster-uncertainty"):
        Badge().select(replace(pool, predictions=unsupported), 5, 0)
