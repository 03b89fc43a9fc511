"""The lazy k-center, compared with computing every distance again at every step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool, unit_vectors

from ml_backend.core.arrays import Floats, Ints
from plugins.acquisition.k_center import BlockSizes, KCenter, farthest_first


def distance(vectors: Floats, row: int, others: list[int]) -> float:
    """Returns the squared distance to the nearest of some other rows."""
    return min(sum((float(a) - float(b)) ** 2 for a, b in zip(vectors[row], vectors[o], strict=True)) for o in others)


def check_greedy(vectors: Floats, rows: list[int], centres: list[int], places: list[int], slack: float = 0.0) -> None:
    """Checks that each choice is the farthest from the centres and all choices before it; ties may go to any."""
    covered, remaining = list(centres), list(rows)
    for place in places:
        row = rows[place]
        distances = [distance(vectors, other, covered) for other in remaining] if covered else from_mean(vectors, rows)
        assert distances[remaining.index(row)] >= max(distances) - slack
        covered.append(row)
        remaining.remove(row)


def from_mean(vectors: Floats, rows: list[int]) -> list[float]:
    mean = np.mean(np.asarray(vectors[rows], dtype=np.float64), axis=0)
    return [float(np.square(vectors[row] - mean).sum()) for row in rows]


@pytest.mark.parametrize("front", [1, 3, 2048])
@given(
    n=st.integers(1, 25),
    dim=st.integers(1, 3),
    centres=st.integers(0, 8),
    k=st.integers(0, 28),
    seed=st.integers(0, 9999),
)
@settings(max_examples=70, deadline=None)
def test_each_choice_is_the_farthest_from_all_before_it(
    front: int, n: int, dim: int, centres: int, k: int, seed: int
) -> None:
    """On a small lattice, where distances are exact, and ties and copies are everywhere."""
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-2, 3, (n + centres, dim)).astype(np.float32)
    mixed = generator.permutation(n + centres)
    rows, labelled = np.sort(mixed[:n]), np.sort(mixed[n:])
    places = farthest_first(vectors, rows, labelled, k, sizes=BlockSizes(front, chunk=7, centres=2))
    assert len(places) == len(set(places.tolist())) == min(k, n)
    check_greedy(vectors, rows.tolist(), labelled.tolist(), places.tolist(), slack=0.0 if centres else 1e-4)


@pytest.mark.parametrize("front", [2, 10, 2048])
def test_without_ties_it_chooses_what_the_textbook_chooses(front: int) -> None:
    for seed in range(10):
        vectors = unit_vectors(120, np.random.default_rng(seed))
        labelled: Ints = np.arange(0, 120, 9)
        rows = np.setdiff1d(np.arange(120), labelled)
        distances = ((vectors[rows][:, None].astype(float) - vectors[labelled]) ** 2).sum(axis=2).min(axis=1)
        expected = []
        for _ in range(40):
            expected.append(int(distances.argmax()))
            distances = np.minimum(
                distances, ((vectors[rows].astype(float) - vectors[rows[expected[-1]]]) ** 2).sum(axis=1)
            )
        assert farthest_first(vectors, rows, labelled, 40, sizes=BlockSizes(front)).tolist() == expected


def test_the_labelled_rows_are_the_centres_and_the_learner_does_not_matter() -> None:
    pool = make_pool(60, clusters=3, errors=True)
    selection = KCenter().select(pool, 15, 0)
    rows = np.flatnonzero(pool.available)
    places = np.searchsorted(rows, selection.rows).tolist()
    check_greedy(pool.vectors, rows.tolist(), np.flatnonzero(pool.labelled).tolist(), places, slack=1e-5)
    without_learner = KCenter().select(replace(pool, predictions=None, errors=None), 15, 1)
    assert without_learner.rows.tolist() == selection.rows.tolist()


def test_the_first_row_is_the_farthest_from_the_mean_and_the_second_is_the_farthest_from_the_first() -> None:
    """The mean is no centre: a row near it may be far from all chosen rows."""
    angles = np.array([0.0, 0.1, -0.1, 0.2, -0.2, 1.2, -1.2])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pool = replace(make_pool(7, cold=True, free=1.0), vectors=vectors)
    first, second, third = KCenter().select(pool, 3, 0).rows.tolist()
    assert {first, second} == {5, 6} and third == 0
