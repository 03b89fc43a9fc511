"""The fit of the field: its gradient, its minimum, and labels that are known in part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from plugins.learners import crf_fit
from plugins.learners.crf_fit import Field, Words, fit
from plugins.learners.linear_chain import Chain, sum_over_paths, tag_marginals

K, D = 3, 4


def blank() -> Field:
    """Tag 2 follows tag 1 or itself alone."""
    transitions, start = np.zeros((K, K)), np.zeros(K)
    transitions[0, 2], start[2] = -np.inf, -np.inf
    return Field(np.zeros((D, K)), np.zeros(K), Chain(transitions, start, np.zeros(K)))


def world(n: int = 40, seed: int = 0) -> tuple[Words, Any, np.ndarray]:
    """Words whose features tell their tags."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 7, n)
    tags = np.zeros((n, 6), int)
    for row, length in enumerate(lengths):
        for place in range(length):
            options = [0, 1] if place == 0 or tags[row, place - 1] == 0 else [0, 1, 2]
            tags[row, place] = random.choice(options)
    features = [
        np.concatenate([np.eye(K)[tags[row, place]] + 0.3 * random.normal(size=K), [1.0]])
        for row, length in enumerate(lengths)
        for place in range(length)
    ]
    return Words(np.array(features, np.float32), lengths), tags, np.eye(K, dtype=bool)[tags]


def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    words, _, allowed = world(6)
    allowed = allowed | (np.random.default_rng(1).random(allowed.shape) < 0.3)
    allowed[:, 0, 2] = False
    seen = {}

    def check(loss: Any, first: Any, **rest: Any) -> Any:
        at = first + np.random.default_rng(2).normal(size=len(first)) * 0.5
        seen["difference"] = np.abs(loss(at)[1] - approx_fprime(at, lambda x: loss(x)[0], 1e-6)).max()
        return minimize(loss, first, **rest)

    monkeypatch.setattr(crf_fit, "minimize", check)
    fit(words, allowed, np.linspace(0.5, 2, 6, dtype=np.float64), blank(), 3)
    assert seen["difference"] < 1e-3


def test_tags_that_the_features_tell_are_found() -> None:
    words, _, allowed = world(200)
    other, tags, _ = world(50, seed=1)
    field = fit(words, allowed, np.ones(200), blank(), 50)
    marginals = tag_marginals(sum_over_paths(field.scores(other), other.lengths, field.chain))
    is_word = np.arange(tags.shape[1]) < other.lengths[:, None]
    assert (marginals.argmax(axis=2) == tags[:, : marginals.shape[1]])[is_word[:, : marginals.shape[1]]].mean() > 0.9
    assert np.isinf(field.chain.transitions[0, 2]) and np.isinf(field.chain.start[2])


def test_words_of_unknown_tags_do_no_harm() -> None:
    words, _, allowed = world(200)
    unknown = np.random.default_rng(3).random(allowed.shape[:2]) < 0.5
    partly = allowed | unknown[:, :, None]
    other, tags, _ = world(50, seed=1)
    field = fit(words, partly, np.ones(200), blank(), 50)
    marginals = tag_marginals(sum_over_paths(field.scores(other), other.lengths, field.chain))
    is_word = np.arange(tags.shape[1]) < other.lengths[:, None]
    assert (marginals.argmax(axis=2) == tags[:, : marginals.shape[1]])[is_word[:, : marginals.shape[1]]].mean() > 0.85


def test_a_sequence_of_weight_zero_counts_for_nothing() -> None:
    words, _, allowed = world(60)
    weights = (np.arange(60) < 30).astype(float)
    alone = Words(words.features[: int(words.lengths[:30].sum())], words.lengths[:30])
    with_others = fit(words, allowed, weights, blank(), 30)
    without = fit(alone, allowed[:30], np.ones(30), blank(), 30)
    np.testing.assert_allclose(with_others.weights, without.weights, atol=1e-4)


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    words, _, allowed = world(80)
    cold = fit(words, allowed, np.ones(80), blank(), 200)
    warm = fit(words, allowed, np.ones(80), fit(words, allowed, np.ones(80), blank(), 10), 200)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-2)
