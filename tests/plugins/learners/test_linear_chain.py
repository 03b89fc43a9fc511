"""The sums of the linear chain against those over all sequences of tags."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.learners.linear_chain import (
    Chain,
    Doubles,
    span_marginals,
    step_expectations,
    sum_over_paths,
    tag_marginals,
)

FIRST, INSIDE = np.array([1, 3]), np.array([2, 4])
K = 5


def bio_chain(random: np.random.Generator) -> Chain:
    """Random scores of steps; an inside tag follows its own type alone."""
    transitions, start = random.normal(size=(K, K)) * 2, random.normal(size=K)
    for first, inside in zip(FIRST, INSIDE, strict=True):
        forbidden = np.setdiff1d(np.arange(K), [first, inside])
        transitions[forbidden, inside] = -np.inf
        start[inside] = -np.inf
    return Chain(transitions, start, random.normal(size=K))


def paths(scores: Doubles, chain: Chain) -> Iterator[tuple[tuple[int, ...], float]]:
    """Each sequence of tags of one sequence of words (t, k), and exp of its score."""
    for tags in product(range(K), repeat=len(scores)):
        total = chain.start[tags[0]] + chain.end[tags[-1]] + sum(scores[i, tag] for i, tag in enumerate(tags))
        total += sum(chain.transitions[a, b] for a, b in pairwise(tags))
        yield tags, float(np.exp(total))


@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3), scale=st.floats(0, 30))
def test_the_sums_are_those_over_all_sequences_of_tags(seed: int, lengths: list[int], scale: float) -> None:
    random = np.random.default_rng(seed)
    chain, t = bio_chain(random), max(lengths)
    scores = random.normal(size=(len(lengths), t, K)) * scale
    sums = sum_over_paths(scores, np.array(lengths), chain)
    marginals, weights = tag_marginals(sums), random.random(len(lengths))
    spans = span_marginals(sums, chain, FIRST, INSIDE, longest=3)
    steps = np.zeros((K, K))
    for row, length in enumerate(lengths):
        weighted = list(paths(scores[row, :length], chain))
        total = sum(weight for _, weight in weighted)
        assert sums.log_partition[row] == pytest.approx(np.log(total), abs=1e-8)
        expected, expected_spans = np.zeros((t, K)), np.zeros((t, 3, 2))
        for tags, weight in weighted:
            probability = weight / total
            for place, tag in enumerate(tags):
                expected[place, tag] += probability
                if tag in FIRST:
                    kind = FIRST.tolist().index(tag)
                    end = place + 1
                    while end < length and tags[end] == INSIDE[kind]:
                        end += 1
                    if end - place <= 3:
                        expected_spans[place, end - place - 1, kind] += probability
            for a, b in pairwise(tags):
                steps[a, b] += probability * weights[row]
        np.testing.assert_allclose(marginals[row], expected, atol=1e-9)
        np.testing.assert_allclose(spans[row], expected_spans, atol=1e-9)
    np.testing.assert_allclose(step_expectations(sums, chain, weights), steps, atol=1e-9)


def test_only_allowed_tags_count() -> None:
    random = np.random.default_rng(0)
    chain, scores = bio_chain(random), random.normal(size=(1, 4, K))
    allowed = np.ones((1, 4, K), np.bool_)
    allowed[0, 1] = np.isin(np.arange(K), [1])
    allowed[0, 3] = np.isin(np.arange(K), [0, 3])
    sums = sum_over_paths(scores, np.array([4]), chain, allowed)
    kept = [weight for tags, weight in paths(scores[0], chain) if tags[1] == 1 and tags[3] in (0, 3)]
    assert sums.log_partition[0] == pytest.approx(np.log(sum(kept)))
    assert tag_marginals(sums)[0, 1].tolist() == pytest.approx([0, 1, 0, 0, 0])


def test_long_sequences_with_large_scores_stay_finite() -> None:
    random = np.random.default_rng(1)
    chain, scores = bio_chain(random), random.normal(size=(2, 3000, K)) * 100
    sums = sum_over_paths(scores, np.array([3000, 1]), chain)
    assert np.isfinite(sums.log_partition).all() and np.isfinite(tag_marginals(sums)).all()
    np.testing.assert_allclose(tag_marginals(sums)[0].sum(axis=1), 1, atol=1e-8)
