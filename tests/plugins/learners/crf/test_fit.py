"""The fit of the field: its gradient, its minimum, and labels that are known in part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from ml_backend.core.arrays import Ints
from plugins.learners.crf.chain import Doubles, sum_over_paths
from plugins.learners.crf.features import Features, as_sparse
from plugins.learners.crf.fit import Field, Losses, TaggedWords, blank_field, fit
from plugins.learners.crf.lbfgs import Limits
from plugins.learners.crf.places import sort_by_place

K, D = 3, 4


def make_words(n: int = 40, seed: int = 0) -> tuple[Features, TaggedWords, Ints]:
    """Words whose features tell their tags, and the tags, in the order of places."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 7, n)
    tags: list[int] = []
    for length in lengths:
        for place in range(length):
            options = [0, 1] if place == 0 or tags[-1] == 0 else [0, 1, 2]
            tags.append(int(random.choice(options)))
    noisy = np.eye(K)[tags] + 0.3 * random.normal(size=(len(tags), K))
    places = sort_by_place(lengths)
    in_order = np.array(tags)[places.order]
    allowed = np.eye(K, dtype=bool)[in_order]
    features = Features(noisy.astype(np.float32), as_sparse(np.ones((len(tags), 1), np.float32)))
    return features, TaggedWords(places, places.order, allowed, np.ones(len(tags), np.float32)), in_order


def fit_one(features: Features, words: TaggedWords, evaluations: int, start: Field | None = None) -> Field:
    [field] = fit([features], [words], [start or blank_field(words, D)], Limits(evaluations, 1e-5))
    return field


def share_of_right_tags(field: Field, features: Features, words: TaggedWords, tags: Ints) -> float:
    sums = sum_over_paths(field.scores(features)[words.words], words.places, field.chain)
    return float((sums.tag_marginals.argmax(axis=1) == tags).mean())


@pytest.mark.parametrize("is_known", [True, False])
def test_the_gradients_are_those_of_the_losses(is_known: bool) -> None:
    features, words, _ = make_words(6)
    allowed = words.allowed.copy()
    if not is_known:
        allowed |= np.random.default_rng(1).random(allowed.shape) < 0.3
        allowed[: words.places.n_texts, 2] = False
    weights = np.linspace(0.5, 2, 6, dtype=np.float32)[words.places.texts]
    heads = [replace(words, allowed=allowed, weights=weights), words]
    losses = Losses([features] * 2, heads, [blank_field(words, D)] * 2, None)
    at = losses.parameters([blank_field(words, D)] * 2)
    at += np.random.default_rng(2).normal(size=at.shape) * 0.5
    gradients = losses(at)[1]
    for head in range(2):

        def loss(row: Doubles, head: int = head) -> Doubles:
            return losses(np.stack([*at[:head], row, *at[head + 1 :]]))[0][head]  # type: ignore[no-any-return]

        difference = np.abs(gradients[head] - approx_fprime(at[head], loss, 1e-4)).max()
        assert difference < 0.05, "the gradient of the penalty is about 50"


def test_a_head_does_not_depend_on_the_words_of_others() -> None:
    features, words, _ = make_words(60)
    other = replace(words, allowed=np.roll(words.allowed, 1, axis=1), weights=2 * words.weights)
    start = blank_field(words, D)
    fields = [fit([features] * 2, [words, of_other], [start] * 2, Limits(20, 1e-5))[0] for of_other in (words, other)]
    np.testing.assert_array_equal(fields[0].weights, fields[1].weights)
    np.testing.assert_array_equal(fields[0].chain.values, fields[1].chain.values)


def test_tags_that_the_features_tell_are_found() -> None:
    features, words, _ = make_words(200)
    assert share_of_right_tags(fit_one(features, words, 50), *make_words(50, seed=1)) > 0.9


def test_words_of_unknown_tags_do_no_harm() -> None:
    features, words, _ = make_words(200)
    unknown = np.random.default_rng(3).random(len(words.allowed)) < 0.5
    partial = replace(words, allowed=words.allowed | unknown[:, None])
    field = fit_one(features, partial, 50, blank_field(words, D))
    assert share_of_right_tags(field, *make_words(50, seed=1)) > 0.85


def test_a_text_of_weight_zero_counts_for_nothing() -> None:
    features, words, _ = make_words(60)
    counts = words.places.texts < 30
    alone = sort_by_place(np.bincount(words.places.texts[counts], minlength=30))
    order = np.flatnonzero(counts)
    part = TaggedWords(alone, words.words[order], words.allowed[order], words.weights[order])
    without = fit_one(features, part, 100)
    weighted = replace(words, weights=counts.astype(np.float32))
    with_others = fit_one(features, weighted, 100, blank_field(words, D))
    np.testing.assert_allclose(with_others.weights, without.weights, atol=2e-3)


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    features, words, _ = make_words(80)
    cold, warm = fit_one(features, words, 200), fit_one(features, words, 200, fit_one(features, words, 10))
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-2)


def test_without_words_the_field_stays_as_it_is() -> None:
    places = sort_by_place(np.zeros(2, np.int64))
    empty = TaggedWords(places, places.order, np.zeros((0, K), np.bool_), np.zeros(0, np.float32))
    features = Features(np.zeros((0, D - 1), np.float32), as_sparse(np.zeros((0, 1), np.float32)))
    field, start = fit_one(features, empty, 5), blank_field(empty, D)
    np.testing.assert_allclose(field.weights, start.weights)
    np.testing.assert_allclose(field.bias, start.bias)
