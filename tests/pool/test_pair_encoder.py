"""Comparisons of two texts: swapping the texts swaps the halves of the vector."""

from __future__ import annotations

import json

import numpy as np
from compared_texts import PAIRS, pair_texts, swapped
from fake_encoder import FakeEncoder
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core import registry
from ml_backend.pool.pair_encoder import PairEncoder

ENCODER = PairEncoder(FakeEncoder())


@given(PAIRS, st.sampled_from(["", "Which is better?"]))
def test_the_vectors_of_swapped_texts_have_swapped_halves(pairs: list[tuple[str, str]], prompt: str) -> None:
    context = {"prompt": prompt} if prompt else {}
    vectors = ENCODER.encode(pair_texts(pairs, **context))
    assert vectors.shape == (len(pairs), ENCODER.dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    of_swapped = ENCODER.encode(pair_texts(swapped(pairs), **context))
    d = ENCODER.dim // 2
    assert np.array_equal(of_swapped, np.hstack([vectors[:, d:], vectors[:, :d]]))


def test_the_default_encoder_gives_exactly_swapped_halves() -> None:
    encoder = PairEncoder(registry.encoder("minilm"))
    pairs = [("a short text", "a text with many more words than that one"), ("", "one"), ("one", "a short text")]
    straight, turned = encoder.encode(pair_texts(pairs)), encoder.encode(pair_texts(swapped(pairs)))
    assert np.array_equal(straight.reshape(3, 2, -1)[:, ::-1], turned.reshape(3, 2, -1))


def test_a_text_that_is_no_comparison_stands_on_both_sides() -> None:
    halves = ENCODER.encode(["kind"]).reshape(2, -1)
    assert np.array_equal(halves[0], halves[1])
    assert ENCODER.encode([]).shape == (0, ENCODER.dim)


def test_other_fields_follow_the_text_of_either_side() -> None:
    encoder = FakeEncoder()
    PairEncoder(encoder).encode([json.dumps({"left": "A", "prompt": "Which?", "right": "B", "year": 2024})])
    assert encoder.encoded == ["A\n\nprompt: Which?\n\nyear: 2024", "B\n\nprompt: Which?\n\nyear: 2024"]
