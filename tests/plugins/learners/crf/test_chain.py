"""The sums of the linear chain against those over all sequences of tags."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.learners.crf.chain import (
    Chain,
    Doubles,
    best_log_probabilities,
    sort_by_place,
    span_marginals,
    step_expectations,
    sum_over_paths,
)

FIRST, INSIDE = np.array([1, 3]), np.array([2, 4])
K = 5
length_lists = st.lists(st.integers(0, 4), min_size=1, max_size=4)


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


@given(length_lists)
def test_words_are_sorted_by_their_places(lengths: list[int]) -> None:
    places = sort_by_place(np.array(lengths))
    words = [(text, place) for text, length in enumerate(lengths) for place in range(length)]
    in_order = [words[word] for word in places.order]
    assert sorted(in_order) == words
    assert [place for _, place in in_order] == sorted(place for _, place in words)
    assert places.texts.tolist() == [text for text, _ in in_order]
    assert places.n_texts == sum(length > 0 for length in lengths)
    for index, (text, place) in enumerate(in_order):
        before, after = places.previous[index], places.following[index]
        assert (in_order[before] if before >= 0 else None) == ((text, place - 1) if place else None)
        assert (in_order[after] if after >= 0 else None) == ((text, place + 1) if place + 1 < lengths[text] else None)


@given(seed=st.integers(0, 10_000), lengths=length_lists, scale=st.floats(0, 30))
def test_the_sums_are_those_over_all_sequences_of_tags(seed: int, lengths: list[int], scale: float) -> None:
    random = np.random.default_rng(seed)
    chain, places = bio_chain(random), sort_by_place(np.array(lengths))
    if not places.n_texts:
        return
    scores = random.normal(size=(sum(lengths), K)) * scale
    weights = random.random(len(lengths))
    sums = sum_over_paths(scores[places.order], places, chain)
    spans = span_marginals(sums, chain, FIRST, INSIDE, floor=1e-12)
    found = {
        (int(places.order[first]), int(places.order[last]), int(kind)): float(p)
        for first, last, kind, p in zip(spans.first, spans.last, spans.types, spans.probabilities, strict=True)
    }
    marginals, expected = sums.tag_marginals, np.zeros((sum(lengths), K))
    steps, expected_spans = np.zeros((K, K)), dict.fromkeys(found, 0.0)
    best = best_log_probabilities(scores[places.order], sums, chain)
    for rank, text in enumerate(places.texts[: places.n_texts]):
        begin = sum(lengths[:text])
        weighted = list(paths(scores[begin : begin + lengths[text]], chain))
        total = sum(weight for _, weight in weighted)
        assert sums.log_partition[rank] == pytest.approx(np.log(total), abs=1e-8)
        assert best[rank] == pytest.approx(np.log(max(weight for _, weight in weighted) / total), abs=1e-7)
        for tags, weight in weighted:
            probability = weight / total
            for place, tag in enumerate(tags):
                expected[begin + place, tag] += probability
                if tag in FIRST:
                    kind = FIRST.tolist().index(tag)
                    end = place
                    while end + 1 < len(tags) and tags[end + 1] == INSIDE[kind]:
                        end += 1
                    key = (begin + place, begin + end, kind)
                    expected_spans[key] = expected_spans.get(key, 0.0) + probability
            for a, b in pairwise(tags):
                steps[a, b] += probability * weights[text]
    np.testing.assert_allclose(marginals, expected[places.order], atol=1e-9)
    for key, probability in expected_spans.items():
        assert found.get(key, 0.0) == pytest.approx(probability, abs=1e-6)
    np.testing.assert_allclose(step_expectations(sums, chain, weights[places.texts]), steps, atol=1e-9)


def test_only_allowed_tags_count() -> None:
    random = np.random.default_rng(0)
    chain, scores = bio_chain(random), random.normal(size=(4, K))
    allowed = np.ones((4, K), np.bool_)
    allowed[1] = np.isin(np.arange(K), [1])
    allowed[3] = np.isin(np.arange(K), [0, 3])
    sums = sum_over_paths(scores, sort_by_place(np.array([4])), chain, allowed)
    kept = [weight for tags, weight in paths(scores, chain) if tags[1] == 1 and tags[3] in (0, 3)]
    assert sums.log_partition[0] == pytest.approx(np.log(sum(kept)))
    assert sums.tag_marginals[1].tolist() == pytest.approx([0, 1, 0, 0, 0])


def test_long_texts_with_large_scores_stay_finite() -> None:
    random = np.random.default_rng(1)
    chain, places = bio_chain(random), sort_by_place(np.array([3000, 1]))
    scores = np.asarray(random.normal(size=(3001, K)) * 100, np.float32)
    sums = sum_over_paths(scores[places.order], places, chain)
    assert np.isfinite(sums.log_partition).all() and np.isfinite(sums.tag_marginals).all()
    np.testing.assert_allclose(sums.tag_marginals.sum(axis=1), 1, atol=1e-3)
