"""Fits a linear-chain conditional random field on the features of words, also where only a part of the tags is known.

The loss is the negative logarithm of the probability of all sequences of tags that the labels allow (Tsuboi, Kashima,
Mori, Oda and Matsumoto, "Training Conditional Random Fields Using Incomplete Annotations", COLING 2008, equation 5),
which is the usual one if they allow a single sequence, plus half the squared weights times `PENALTY`. With a prior, the
parameters are drawn to those of another field instead of 0 (Chelba and Acero, "Adaptation of Maximum Entropy
Capitalizer: Little Data Can Help a Lot", EMNLP 2004).

The parameters are scaled by the square roots of estimated second derivatives of the loss before L-BFGS sees them: rare
tags and features of different variance would slow it down (measured: 20 iterations reach a lower loss than 60 without
the scales).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Mask
from plugins.learners.crf.chain import (
    Chain,
    Doubles,
    blank_chain,
    count_steps,
    first_tags,
    inside_tags,
    step_expectations,
    sum_over_paths,
)
from plugins.learners.crf.places import Places

PENALTY = 100.0
"""Of the weights of features that are standardised."""
STEP_PENALTY = 1.0
"""Of the scores of steps."""
PRIOR_PENALTIES = (300.0, 10.0, 10.0)
"""Of the distance from a prior: of the weights, the bias and the scores of steps. Chosen on wnut17's train rows."""
TOLERANCE = 1e-5
"""Relative change of the loss below which the fit ends."""
VARIANCE_SHARE = 0.1
"""Estimate of p (1 - p), for the probability p of a tag of a word in a fitted field, as a share of its value before the
fit, where p is the frequency of the tag."""


@dataclass(frozen=True, slots=True)
class Field:
    """A fitted field: weights (d, k) and bias (k,) of the features, and the scores of steps."""

    weights: Floats
    bias: Floats
    chain: Chain

    def scores(self, features: Floats) -> Floats:
        """(w, k) the scores of the tags of words with features (w, d)."""
        return np.asarray(features @ self.weights + self.bias, np.float32)


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """Words that a field is fitted on, in the order of `places`.

    features  (w, d) float32
    allowed   (w, k) bool: the tags that the labels allow
    weights   (w,) the weight of the text of each word
    """

    places: Places
    features: Floats
    allowed: Mask
    weights: Floats


def blank_field(words: TaggedWords) -> Field:
    """The field in which the features of words count for nothing, and each tag is as probable as it is frequent."""
    d, k = words.features.shape[1], words.allowed.shape[1]
    return Field(np.zeros((d, k), np.float32), np.log(_frequencies(words)).astype(np.float32), blank_chain(k // 2))


def fit(words: TaggedWords, start: Field, max_iterations: int, prior: Field | None = None) -> Field:
    """The field with the least loss, from `start`, drawn to the prior if there is one."""
    if not len(words.places.order):
        return start
    from scipy.optimize import minimize

    d, k = start.weights.shape
    features, allowed = words.features, words.allowed
    is_known = bool((allowed.sum(axis=1) == 1).all())
    known_words = np.asarray(allowed * words.weights[:, None], np.float32)
    known_steps = count_steps(words.places, allowed.astype(np.float32), known_words, known_words)
    scales = _scales(words)
    first = _parameters(start)
    sizes = (d * k, k, len(first) - d * k - k)
    penalties = np.repeat((PENALTY, 0.0, STEP_PENALTY) if prior is None else PRIOR_PENALTIES, sizes)
    centre = np.zeros(len(first)) if prior is None else _parameters(prior)

    def unpack(scaled: Doubles) -> Field:
        weights, bias, steps = np.split(scaled * scales, [d * k, d * k + k])
        return Field(weights.reshape(d, k).astype(np.float32), bias.astype(np.float32), Chain.of(steps))

    def loss(scaled: Doubles) -> tuple[float, Doubles]:
        field = unpack(scaled)
        scores, steps = field.scores(features), field.chain.values
        value, of_words, of_steps = _expected(scores, words, field.chain)
        if is_known:
            value -= float((scores * known_words).sum(dtype=np.float64) + steps @ known_steps)
            of_words, of_steps = of_words - known_words, of_steps - known_steps
        else:
            allowed_value, allowed_words, allowed_steps = _expected(scores, words, field.chain, allowed)
            value -= allowed_value
            of_words, of_steps = of_words - allowed_words, of_steps - allowed_steps
        distance = scaled * scales - centre
        gradient = [
            (features.T @ of_words.astype(np.float32)).astype(np.float64).ravel(),
            of_words.sum(axis=0, dtype=np.float64),
            of_steps,
        ]
        value += 0.5 * float(penalties @ np.square(distance))
        return value, (np.concatenate(gradient) + penalties * distance) * scales

    options = {"maxiter": max_iterations, "ftol": TOLERANCE}
    return unpack(minimize(loss, first / scales, jac=True, method="L-BFGS-B", options=options).x)


def text_losses(words: TaggedWords, field: Field) -> Doubles:
    """(n,) the negative logarithm of the probability of the allowed tags of each text, in the order of `places`."""
    if not words.places.n_texts:
        return np.zeros(0)
    scores = field.scores(words.features)
    sums, allowed = (sum_over_paths(scores, words.places, field.chain, mask) for mask in (None, words.allowed))
    return np.asarray(sums.log_partition - allowed.log_partition)


def _parameters(field: Field) -> Doubles:
    """The weights, the bias and the scores of steps of a field, as one array."""
    return np.concatenate([field.weights.ravel(), field.bias, field.chain.values]).astype(np.float64)


def _expected(
    scores: Floats, words: TaggedWords, chain: Chain, allowed: Mask | None = None
) -> tuple[float, Doubles, Doubles]:
    """The weighted sum of the logarithms of the partition functions, and its derivatives by the scores of the words (w,
    k) and of the steps (4 m + 3,)."""
    sums = sum_over_paths(scores, words.places, chain, allowed)
    value = float(words.weights[: words.places.n_texts] @ sums.log_partition)
    return value, sums.tag_marginals * words.weights[:, None], step_expectations(sums, chain, words.weights)


def _frequencies(words: TaggedWords) -> Doubles:
    """(k,) the frequency of each tag; the sum is 1. Each word adds its weight, in equal parts to its allowed tags."""
    shares = words.weights / words.allowed.sum(axis=1)
    counts = shares @ words.allowed.astype(np.float32) + 1.0
    return np.asarray(counts / counts.sum(), np.float64)


def _scales(words: TaggedWords) -> Doubles:
    """One number for each parameter: one over the square root of an estimate of the second derivative of the loss."""
    frequencies, places = _frequencies(words), words.places
    m = len(frequencies) // 2
    variances = VARIANCE_SHARE * frequencies * (1 - frequencies)
    squares = np.einsum("wd,wd,w->d", words.features, words.features, words.weights)
    n_words, n_texts = words.weights.sum(), words.weights[: places.n_texts].sum()
    of_first, of_inside = frequencies[first_tags(m)], frequencies[inside_tags(m)]
    steps = [
        n_words * of_first * of_inside,
        [n_words * of_first.sum() ** 2],
        n_texts * frequencies[: 1 + m],
        n_texts * frequencies,
    ]
    curvatures = [
        (np.outer(squares, variances) + PENALTY).ravel(),
        n_words * variances + STEP_PENALTY,
        VARIANCE_SHARE * np.concatenate(steps) + STEP_PENALTY,
    ]
    return np.asarray(np.concatenate(curvatures) ** -0.5, np.float64)
