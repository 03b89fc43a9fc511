"""The sums of the linear chain against those over all sequences of tags."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.learners.crf import chain as chain_module
from plugins.learners.crf.chain import Chain, Doubles, blank_chain, step_expectations, sum_over_paths
from plugins.learners.crf.marginals import best_log_probabilities, span_marginals
from plugins.learners.crf.places import sort_by_place

FIRST, INSIDE = [1, 2], [3, 4]
M, K = 2, 5
length_lists = st.lists(st.integers(0, 4), min_size=1, max_size=4)


def random_chain(random: np.random.Generator) -> Chain:
    return Chain.of(random.normal(size=4 * M + 3) * 2)


def step_score(chain: Chain, before: int, tag: int) -> float:
    """The score of a step from a tag to another one, -inf if it is impossible."""
    if tag in INSIDE:
        kind = INSIDE.index(tag)
        return 0.0 if before == tag else float(chain.longer[kind]) if before == FIRST[kind] else -np.inf
    return chain.adjacent if tag in FIRST and before != 0 else 0.0


def paths(scores: Doubles, chain: Chain) -> Iterator[tuple[tuple[int, ...], float]]:
    """Each possible sequence of tags of one sequence of words (t, k), and exp of its score."""
    for tags in product(range(K), repeat=len(scores)):
        if tags[0] not in INSIDE:
            total = chain.start[tags[0]] + chain.end[tags[-1]] + sum(scores[i, tag] for i, tag in enumerate(tags))
            yield tags, float(np.exp(total + sum(step_score(chain, a, b) for a, b in pairwise(tags))))


def values_of_path(tags: tuple[int, ...]) -> Doubles:
    """How often a sequence of tags takes each step of `Chain.values`."""
    counts = blank_chain(M)
    longer, start, end = counts.longer.copy(), counts.start.copy(), counts.end.copy()
    start[tags[0]] += 1
    end[tags[-1]] += 1
    for a, b in pairwise(tags):
        if a in FIRST and b in INSIDE:
            longer[FIRST.index(a)] += 1
    return Chain(longer, float(sum(a != 0 and b in FIRST for a, b in pairwise(tags))), start, end).values


@given(st.integers(0, 6))
def test_a_chain_is_made_of_its_values(m: int) -> None:
    values = np.arange(4 * m + 3, dtype=np.float64)
    chain = Chain.of(values)
    assert (len(chain.longer), len(chain.start), len(chain.end)) == (m, 1 + m, 1 + 2 * m)
    np.testing.assert_array_equal(chain.values, values)


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


@pytest.mark.parametrize("max_dense_tags", [0, K])
@given(seed=st.integers(0, 10_000), lengths=length_lists, scale=st.floats(0, 30))
def test_the_sums_are_those_over_all_sequences_of_tags(
    max_dense_tags: int, seed: int, lengths: list[int], scale: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "MAX_DENSE_TAGS", max_dense_tags)
        check_sums(seed, lengths, scale)


def check_sums(seed: int, lengths: list[int], scale: float) -> None:
    random = np.random.default_rng(seed)
    chain, places = random_chain(random), sort_by_place(np.array(lengths))
    if not places.n_texts:
        return
    scores = random.normal(size=(sum(lengths), K)) * scale
    weights = random.random(len(lengths))
    sums = sum_over_paths(scores[places.order], places, chain)
    spans = span_marginals(sums, chain, floor=1e-12)
    found = {
        (int(places.order[first]), int(places.order[last]), int(kind)): float(p)
        for first, last, kind, p in zip(spans.first, spans.last, spans.types, spans.probabilities, strict=True)
    }
    marginals, expected = sums.tag_marginals, np.zeros((sum(lengths), K))
    steps, expected_spans = np.zeros(4 * M + 3), dict.fromkeys(found, 0.0)
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
                    kind = FIRST.index(tag)
                    end = place
                    while end + 1 < len(tags) and tags[end + 1] == INSIDE[kind]:
                        end += 1
                    key = (begin + place, begin + end, kind)
                    expected_spans[key] = expected_spans.get(key, 0.0) + probability
            steps += probability * weights[text] * values_of_path(tags)
    np.testing.assert_allclose(marginals, expected[places.order], atol=1e-9)
    for key, probability in expected_spans.items():
        assert found.get(key, 0.0) == pytest.approx(probability, abs=1e-6)
    np.testing.assert_allclose(step_expectations(sums, chain, weights[places.texts]), steps, atol=1e-9)


def test_only_allowed_tags_count() -> None:
    random = np.random.default_rng(0)
    chain, scores = random_chain(random), random.normal(size=(4, K))
    allowed = np.ones((4, K), np.bool_)
    allowed[1] = np.isin(np.arange(K), [1])
    allowed[3] = np.isin(np.arange(K), [0, 2])
    sums = sum_over_paths(scores, sort_by_place(np.array([4])), chain, allowed)
    kept = [weight for tags, weight in paths(scores, chain) if tags[1] == 1 and tags[3] in (0, 2)]
    assert sums.log_partition[0] == pytest.approx(np.log(sum(kept)))
    assert sums.tag_marginals[1].tolist() == pytest.approx([0, 1, 0, 0, 0])


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_sums_of_single_precision_are_those_of_double_precision(scale: float) -> None:
    random = np.random.default_rng(2)
    chain, places = random_chain(random), sort_by_place(random.integers(0, 60, 40))
    scores = (random.normal(size=(len(places.order), K)) * scale).astype(np.float32)
    weights = np.ones(len(scores))
    single, double = (sum_over_paths(values, places, chain) for values in (scores, scores.astype(np.float64)))
    assert single.forward.dtype == (np.float32 if scale == 1 else np.float64)
    np.testing.assert_allclose(single.tag_marginals, double.tag_marginals, atol=1e-5)
    np.testing.assert_allclose(single.log_partition, double.log_partition, rtol=1e-5)
    steps, expected = (step_expectations(sums, chain, weights) for sums in (single, double))
    np.testing.assert_allclose(steps, expected, rtol=1e-4, atol=1e-4)


def test_long_texts_with_large_scores_stay_finite() -> None:
    random = np.random.default_rng(1)
    chain, places = random_chain(random), sort_by_place(np.array([3000, 1]))
    scores = np.asarray(random.normal(size=(3001, K)) * 100, np.float32)
    sums = sum_over_paths(scores[places.order], places, chain)
    assert np.isfinite(sums.log_partition).all() and np.isfinite(sums.tag_marginals).all()
    np.testing.assert_allclose(sums.tag_marginals.sum(axis=1), 1, atol=1e-3)
