"""Fits a linear-chain conditional random field on the features of words, also where only a part of the tags is known.

The loss is the negative logarithm of the probability of all sequences of tags that the labels allow (Tsuboi, Kashima,
Mori, Oda and Matsumoto, "Training Conditional Random Fields Using Incomplete Annotations", COLING 2008, equation 5),
which is the usual one if they allow a single sequence, plus half the squared weights times `PENALTY`.

The parameters are scaled by the square roots of estimated second derivatives of the loss before L-BFGS sees them: rare
tags and features of different variance would slow it down (measured: 20 iterations reach a lower loss than 60 without
the scales).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ml_backend.core.arrays import Floats, Mask
from plugins.learners.crf.chain import Chain, Doubles, Places, step_expectations, sum_over_paths

PENALTY = 100.0
"""Of the weights of features that are standardised."""
STEP_PENALTY = 1.0
"""Of the scores of steps."""
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


def blank_field(words: TaggedWords, chain: Chain) -> Field:
    """The field in which the features of words count for nothing, and each tag is as probable as it is frequent."""
    d, k = words.features.shape[1], len(chain.start)
    return Field(np.zeros((d, k), np.float32), np.log(_frequencies(words)).astype(np.float32), chain)


def fit(words: TaggedWords, start: Field, max_iterations: int) -> Field:
    """The field with the least loss, from `start`, whose steps of -inf stay forbidden."""
    d, k = start.weights.shape
    places, features, allowed = words.places, words.features, words.allowed
    is_possible = np.isfinite(_steps(start.chain))
    is_known = bool((allowed.sum(axis=1) == 1).all())
    known_words, known_steps = _counts(words) if is_known else (np.zeros(0), np.zeros(0))

    def unpack(parameters: Doubles) -> Field:
        weights, bias, steps = np.split(parameters, [d * k, d * k + k])
        all_steps = np.full(is_possible.shape, -np.inf)
        all_steps[is_possible] = steps
        chain = Chain(all_steps[:k], all_steps[k], all_steps[k + 1])
        return Field(weights.reshape(d, k).astype(np.float32), bias.astype(np.float32), chain)

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        field = unpack(parameters)
        scores = field.scores(features)
        steps = _steps(field.chain)[is_possible]
        value, word_gradient, step_gradient = _expected(scores, words, field.chain)
        if is_known:
            value -= float((scores * known_words).sum(dtype=np.float64) + steps @ known_steps[is_possible])
            word_gradient = word_gradient - known_words
            step_gradient = step_gradient - known_steps
        else:
            allowed_value, allowed_words, allowed_steps = _expected(scores, words, field.chain, allowed)
            value -= allowed_value
            word_gradient, step_gradient = word_gradient - allowed_words, step_gradient - allowed_steps
        weights = parameters[: d * k]
        value += 0.5 * PENALTY * float(weights @ weights) + 0.5 * STEP_PENALTY * float(steps @ steps)
        gradient = [
            (features.T @ word_gradient.astype(np.float32)).astype(np.float64).ravel() + PENALTY * weights,
            word_gradient.sum(axis=0, dtype=np.float64),
            step_gradient[is_possible] + STEP_PENALTY * steps,
        ]
        return value, np.concatenate(gradient)

    if not len(places.order):
        return start
    scales = _scales(words, is_possible)

    def scaled_loss(scaled: Doubles) -> tuple[float, Doubles]:
        value, gradient = loss(scaled * scales)
        return value, gradient * scales

    first = np.concatenate([start.weights.ravel(), start.bias, _steps(start.chain)[is_possible]]).astype(np.float64)
    options = {"maxiter": max_iterations, "ftol": TOLERANCE}
    return unpack(minimize(scaled_loss, first / scales, jac=True, method="L-BFGS-B", options=options).x * scales)


def _frequencies(words: TaggedWords) -> Doubles:
    """(k,) the frequency of each tag, 1 over all tags. Each word adds its weight, in equal parts to its allowed tags."""
    shares = words.weights / words.allowed.sum(axis=1)
    counts = shares @ words.allowed.astype(np.float32) + 1.0
    return np.asarray(counts / counts.sum(), np.float64)


def _scales(words: TaggedWords, is_possible: Mask) -> Doubles:
    """One number for each parameter: one over the square root of an estimate of the second derivative of the loss."""
    frequencies, places = _frequencies(words), words.places
    variances = VARIANCE_SHARE * frequencies * (1 - frequencies)
    squares = np.einsum("wd,wd,w->d", words.features, words.features, words.weights)
    n_words, n_texts = words.weights.sum(), words.weights[: places.n_texts].sum()
    ends = n_texts * frequencies
    steps = VARIANCE_SHARE * np.vstack([n_words * np.outer(frequencies, frequencies), ends, ends])
    curvatures = [
        (np.outer(squares, variances) + PENALTY).ravel(),
        n_words * variances + STEP_PENALTY,
        steps[is_possible] + STEP_PENALTY,
    ]
    return np.asarray(np.concatenate(curvatures) ** -0.5, np.float64)


def _expected(
    scores: Floats, words: TaggedWords, chain: Chain, allowed: Mask | None = None
) -> tuple[float, Doubles, Doubles]:
    """The weighted sum of the logarithms of the partition functions, and its derivatives by the scores of the words (w,
    k) and of the steps (k + 2, k)."""
    places = words.places
    sums = sum_over_paths(scores, places, chain, allowed)
    marginals = sums.tag_marginals * words.weights[:, None]
    first = marginals[: places.n_texts].sum(axis=0)
    last = marginals[places.following < 0].sum(axis=0)
    steps = np.vstack([step_expectations(sums, chain, words.weights), first, last])
    return float(words.weights[: places.n_texts] @ sums.log_partition), marginals, steps


def _counts(words: TaggedWords) -> tuple[Floats, Doubles]:
    """How often the only allowed tags (w, k) occur, and the steps between them (k + 2, k), with the weights."""
    places = words.places
    tags = np.asarray(words.allowed * words.weights[:, None], np.float32)
    rows = np.flatnonzero(places.previous >= 0)
    pairs = words.allowed[places.previous[rows]].astype(np.float64).T @ tags[rows]
    last = tags[places.following < 0].sum(axis=0, dtype=np.float64)
    return tags, np.vstack([pairs, tags[: places.n_texts].sum(axis=0, dtype=np.float64), last])


def _steps(chain: Chain) -> Doubles:
    """(k + 2, k) the scores of all steps: those from tag to tag, then those of the first and of the last tag."""
    return np.vstack([chain.transitions, chain.start, chain.end])
