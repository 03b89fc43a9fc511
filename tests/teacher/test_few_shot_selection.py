"""Examples for the prompt: near, unlike each other, and none that may be a slip."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pools import unit_vectors

from ml_backend.teacher.few_shot_selection import MAX_ERROR_PROBABILITY, REDUNDANCY_WEIGHT, choose_examples


@given(n=st.integers(0, 30), k=st.integers(0, 8), seed=st.integers(0, 99))
def test_examples_are_those_of_greedy_marginal_relevance_the_best_one_last(n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors, errors = unit_vectors(n, random), random.uniform(0, 1, n).astype(np.float32)
    text = unit_vectors(1, random)[0]
    left = [row for row in range(n) if errors[row] <= MAX_ERROR_PROBABILITY]
    expected: list[int] = []
    while left and len(expected) < k:

        def worth(row: int) -> float:
            likeness = max((float(vectors[row] @ vectors[other]) for other in expected), default=0.0)
            return float(vectors[row] @ text) - REDUNDANCY_WEIGHT * max(likeness, 0.0)

        expected.append(max(left, key=worth))
        left.remove(expected[-1])
    assert choose_examples(text, vectors, errors, k).tolist() == expected[::-1]


def test_an_example_with_an_unknown_error_may_be_chosen() -> None:
    vectors = np.eye(3, dtype=np.float32)
    errors = np.array([np.nan, 0.9, 0.1], np.float32)
    assert sorted(choose_examples(vectors[1], vectors, errors).tolist()) == [0, 2]
