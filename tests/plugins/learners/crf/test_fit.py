"""The fit of the field: its gradient, its minimum, and labels that are known in part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from ml_backend.core.arrays import Floats, Ints, Mask
from plugins.learners.crf.chain import sum_over_paths
from plugins.learners.crf.fit import Field, TaggedWords, blank_field, fit
from plugins.learners.crf.places import sort_by_place

K, D = 3, 4


def make_words(n: int = 40, seed: int = 0) -> tuple[TaggedWords, Ints]:
    """Words whose features tell their tags, and the tags, in the order of places."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 7, n)
    tags: list[int] = []
    for length in lengths:
        for place in range(length):
            options = [0, 1] if place == 0 or tags[-1] == 0 else [0, 1, 2]
            tags.append(int(random.choice(options)))
    places = sort_by_place(lengths)
    in_order = np.array(tags)[places.order]
    noisy = np.eye(K)[in_order] + 0.3 * random.normal(size=(len(tags), K))
    features = np.hstack([noisy, np.ones((len(tags), 1))]).astype(np.float32)
    allowed = np.eye(K, dtype=bool)[in_order]
    return TaggedWords(places, features, allowed, np.ones(len(tags), np.float32)), in_order


def with_allowed(words: TaggedWords, allowed: Mask, weights: Floats | None = None) -> TaggedWords:
    return TaggedWords(words.places, words.features, allowed, words.weights if weights is None else weights)


def share_of_right_tags(field: Field, words: TaggedWords, tags: Ints) -> float:
    sums = sum_over_paths(field.scores(words.features), words.places, field.chain)
    return float((sums.tag_marginals.argmax(axis=1) == tags).mean())


@pytest.mark.parametrize("is_known", [True, False])
def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch, is_known: bool) -> None:
    words, _ = make_words(6)
    allowed = words.allowed.copy()
    if not is_known:
        allowed |= np.random.default_rng(1).random(allowed.shape) < 0.3
        allowed[: words.places.n_texts, 2] = False
    weights = np.linspace(0.5, 2, 6, dtype=np.float32)[words.places.texts]
    differences = []

    def check(loss: Any, first: Any, **options: Any) -> Any:
        at = first + np.random.default_rng(2).normal(size=len(first)) * 0.5
        differences.append(np.abs(loss(at)[1] - approx_fprime(at, lambda x: loss(x)[0], 1e-4)).max())
        return minimize(loss, first, **options)

    monkeypatch.setattr("scipy.optimize.minimize", check)
    fit(with_allowed(words, allowed, weights), blank_field(words), 3)
    assert differences[0] < 0.05, "the gradient of the penalty is about 50"


def test_tags_that_the_features_tell_are_found() -> None:
    words, _ = make_words(200)
    field = fit(words, blank_field(words), 50)
    assert share_of_right_tags(field, *make_words(50, seed=1)) > 0.9


def test_words_of_unknown_tags_do_no_harm() -> None:
    words, _ = make_words(200)
    unknown = np.random.default_rng(3).random(len(words.allowed)) < 0.5
    field = fit(with_allowed(words, words.allowed | unknown[:, None]), blank_field(words), 50)
    assert share_of_right_tags(field, *make_words(50, seed=1)) > 0.85


def test_a_text_of_weight_zero_counts_for_nothing() -> None:
    words, _ = make_words(60)
    counts = words.places.texts < 30
    alone = sort_by_place(np.bincount(words.places.texts[counts], minlength=30))
    order = np.flatnonzero(counts)
    part = TaggedWords(alone, words.features[order], words.allowed[order], words.weights[order])
    without = fit(part, blank_field(part), 100)
    with_others = fit(with_allowed(words, words.allowed, counts.astype(np.float32)), blank_field(words), 100)
    np.testing.assert_allclose(with_others.weights, without.weights, atol=2e-3)


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    words, _ = make_words(80)
    cold, warm = fit(words, blank_field(words), 200), fit(words, fit(words, blank_field(words), 10), 200)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-2)


def test_without_words_the_field_stays_as_it_is() -> None:
    places = sort_by_place(np.zeros(2, np.int64))
    empty = TaggedWords(places, np.zeros((0, D), np.float32), np.zeros((0, K), np.bool_), np.zeros(0, np.float32))
    assert fit(empty, blank_field(empty), 5).weights.shape == (D, K)
