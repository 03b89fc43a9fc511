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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from plugins.learners.crf.chain import (
    Chain,
    Doubles,
    Numbers,
    blank_chain,
    count_steps,
    first_tags,
    inside_tags,
    step_expectations,
    sum_over_paths,
)
from plugins.learners.crf.features import Features, joint_gradients, joint_scores, joint_squares
from plugins.learners.crf.lbfgs import Limits, minimize
from plugins.learners.crf.places import Places

PENALTY = 100.0
"""Of the weights of features that are standardised."""
STEP_PENALTY = 1.0
"""Of the scores of steps."""
PRIOR_PENALTIES = (300.0, 10.0, 10.0)
"""Of the distance from a prior: of the weights, the bias and the scores of steps. Chosen on wnut17's train rows."""
VARIANCE_SHARE = 0.1
"""Estimate of p (1 - p), for the probability p of a tag of a word in a fitted field, as a share of its value before the
fit, where p is the frequency of the tag."""


@dataclass(frozen=True, slots=True)
class Field:
    """A fitted field: weights (d, k) and bias (k,) of the features, and the scores of steps."""

    weights: Floats
    bias: Floats
    chain: Chain

    def scores(self, features: Features) -> Floats:
        """(w, k) the scores of the tags of words."""
        return features.scores(self.weights) + self.bias


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """Words that a field is fitted on, in the order of `places`.

    words    (w,) the words, as rows of the features
    allowed  (w, k) bool: the tags that the labels allow
    weights  (w,) the weight of the text of each word
    """

    places: Places
    words: Ints
    allowed: Mask
    weights: Floats


def blank_field(words: TaggedWords, size: int) -> Field:
    """The field in which the features of words count for nothing, and each tag is as probable as it is frequent. size:
    d, the number of features"""
    k = words.allowed.shape[1]
    return Field(np.zeros((size, k), np.float32), np.log(_frequencies(words)).astype(np.float32), blank_chain(k // 2))


def fit(
    features: Sequence[Features],
    heads: Sequence[TaggedWords],
    starts: Sequence[Field],
    limits: Limits,
    prior: Field | None = None,
) -> list[Field]:
    """For each head the field with the least loss on its words, from its start, drawn to the prior if there is one. The
    heads share the products with the dense part of their features, which is the same."""
    losses = Losses(features, heads, starts, prior)
    return losses.fields(minimize(losses, losses.parameters(starts), limits))


def text_losses(words: TaggedWords, scores: Floats, chain: Chain) -> Doubles:
    """(n,) the negative logarithm of the probability of the allowed tags of each text, in the order of `places`.
    scores: (w, k) of the words, in this order"""
    if not words.places.n_texts:
        return np.zeros(0)
    sums, allowed = (sum_over_paths(scores, words.places, chain, mask) for mask in (None, words.allowed))
    return np.asarray(sums.log_partition - allowed.log_partition)


class Losses:
    """The losses of h heads, each with p scaled parameters."""

    def __init__(
        self, features: Sequence[Features], heads: Sequence[TaggedWords], starts: Sequence[Field], prior: Field | None
    ) -> None:
        self._features, self._heads = features, [_Head(words) for words in heads]
        self._d, self._k = starts[0].weights.shape
        self._scales = _scales(features, heads)
        sizes = (self._d * self._k, self._k, len(starts[0].chain.values))
        self._penalties = np.repeat((PENALTY, 0.0, STEP_PENALTY) if prior is None else PRIOR_PENALTIES, sizes)
        self._centre = np.zeros(sum(sizes)) if prior is None else _parameters(prior)

    def parameters(self, fields: Sequence[Field]) -> Doubles:
        """(h, p) of a field for each head."""
        return np.stack([*map(_parameters, fields)]) / self._scales

    def fields(self, parameters: Doubles) -> list[Field]:
        """The inverse of `parameters`."""
        d, k = self._d, self._k
        parts = (np.split(row, [d * k, d * k + k]) for row in parameters * self._scales)
        return [
            Field(weights.reshape(d, k).astype(np.float32), bias.astype(np.float32), Chain.of(steps))
            for weights, bias, steps in parts
        ]

    def __call__(self, parameters: Doubles) -> tuple[Doubles, Doubles]:
        """The losses (h,) and their gradients (h, p)."""
        fields = self.fields(parameters)
        scores = joint_scores(self._features, [field.weights for field in fields])
        losses = [head.loss(*pair) for head, pair in zip(self._heads, zip(scores, fields, strict=True), strict=True)]
        values, of_scores, of_steps = zip(*losses, strict=True)
        gradients = [
            np.concatenate([weights.ravel(), words.sum(axis=0, dtype=np.float64), steps])
            for weights, words, steps in zip(
                joint_gradients(self._features, of_scores), of_scores, of_steps, strict=True
            )
        ]
        distances = parameters * self._scales - self._centre
        penalties = 0.5 * np.square(distances) @ self._penalties
        return np.array(values) + penalties, (np.stack(gradients) + self._penalties * distances) * self._scales


class _Head:
    """The loss of one head apart from the penalties."""

    def __init__(self, tagged: TaggedWords) -> None:
        self.tagged = tagged
        self._is_known = bool((tagged.allowed.sum(axis=1) == 1).all())
        self._words = np.asarray(tagged.allowed * tagged.weights[:, None], np.float32)
        self._steps = count_steps(tagged.places, tagged.allowed.astype(np.float32), self._words, self._words)

    def loss(self, scores: Floats, field: Field) -> tuple[float, Floats, Doubles]:
        """The loss, and its derivatives by the scores of all words (w, k) and of the steps (4 m + 3,). scores: without
        the bias"""
        words, chain = self.tagged.words, field.chain
        of_all = np.zeros_like(scores)
        if not len(words):
            return 0.0, of_all, self._steps
        in_order = scores[words] + field.bias
        value, of_words, of_steps = _expected(in_order, self.tagged, chain)
        if self._is_known:
            value -= float((in_order * self._words).sum(dtype=np.float64) + chain.values @ self._steps)
            of_all[words] = of_words - self._words
            return value, of_all, of_steps - self._steps
        allowed, allowed_words, allowed_steps = _expected(in_order, self.tagged, chain, self.tagged.allowed)
        of_all[words] = of_words - allowed_words
        return value - allowed, of_all, of_steps - allowed_steps


def _parameters(field: Field) -> Doubles:
    """The weights, the bias and the scores of steps of a field, as one array."""
    return np.concatenate([field.weights.ravel(), field.bias, field.chain.values]).astype(np.float64)


def _expected(
    scores: Floats, words: TaggedWords, chain: Chain, allowed: Mask | None = None
) -> tuple[float, Numbers, Doubles]:
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


def _scales(features: Sequence[Features], heads: Sequence[TaggedWords]) -> Doubles:
    """(h, p) one number for each parameter: one over the square root of an estimate of the second derivative of the
    loss."""
    weights = np.zeros((len(heads), len(features[0].dense)), np.float32)
    for of_head, head in zip(weights, heads, strict=True):
        of_head[head.words] = head.weights
    squares = joint_squares(features, [*weights])
    return np.stack([_curvatures(head, of_head) ** -0.5 for head, of_head in zip(heads, squares, strict=True)])


def _curvatures(words: TaggedWords, squares: Floats) -> Doubles:
    """(p,) estimates of the second derivatives. squares: (d,) the weighted sums of the squares of the features"""
    frequencies, places = _frequencies(words), words.places
    m = len(frequencies) // 2
    variances = VARIANCE_SHARE * frequencies * (1 - frequencies)
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
    return np.asarray(np.concatenate(curvatures), np.float64)
