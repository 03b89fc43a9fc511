"""Fits a linear-chain conditional random field on the features of words, also where only a part of the tags is known.

The loss is the negative logarithm of the probability of all sequences of tags that the labels allow (Tsuboi, Kashima,
Mori, Oda and Matsumoto, "Training Conditional Random Fields Using Incomplete Annotations", COLING 2008, equation 5),
which is the usual one if they allow a single sequence, plus half the squared weights times `PENALTY`. With a prior, the
weights are drawn to those of another field instead of 0 (Chelba and Acero, "Adaptation of Maximum Entropy Capitalizer:
Little Data Can Help a Lot", EMNLP 2004).
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
PRIOR_PENALTIES = (300.0, 10.0, 10.0)
"""Of the distance from a prior: of the weights, the bias and the scores of steps. Chosen on wnut17's train rows."""
TOLERANCE = 1e-5
"""Relative change of the loss below which the fit ends."""


@dataclass(frozen=True, slots=True)
class Field:
    """A fitted field: weights (d, k) and bias (k,) of the features, and the scores of steps."""

    weights: Floats
    bias: Floats
    chain: Chain

    def scores(self, features: Floats) -> Floats:
        """(w, k) the scores of the tags of words with features (w, d)."""
        return np.asarray(features @ self.weights + self.bias, np.float32)


def blank_field(d: int, chain: Chain) -> Field:
    """The field for d features whose weights are 0."""
    k = len(chain.start)
    return Field(np.zeros((d, k), np.float32), np.zeros(k, np.float32), chain)


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


def fit(words: TaggedWords, start: Field, max_iterations: int, prior: Field | None = None) -> Field:
    """The field with the least loss, from `start`, whose steps of -inf stay forbidden. Its weights are drawn to those
    of `prior`, which forbids the same steps, or to 0."""
    d, k = start.weights.shape
    places, features, allowed = words.places, words.features, words.allowed
    is_possible = np.isfinite(_steps(start.chain))
    is_known = bool((allowed.sum(axis=1) == 1).all())
    known_words, known_steps = _counts(words) if is_known else (np.zeros(0), np.zeros(0))
    sizes = (d * k, k, int(is_possible.sum()))
    penalties = (PENALTY, 0.0, STEP_PENALTY) if prior is None else PRIOR_PENALTIES
    penalty = np.repeat(penalties, sizes)
    centre = np.zeros(sum(sizes)) if prior is None else _parameters(prior, is_possible)

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
        penalised = penalty * (parameters - centre)
        gradient = [
            (features.T @ word_gradient.astype(np.float32)).astype(np.float64).ravel(),
            word_gradient.sum(axis=0, dtype=np.float64),
            step_gradient[is_possible],
        ]
        return value + 0.5 * float(penalised @ (parameters - centre)), np.concatenate(gradient) + penalised

    options = {"maxiter": max_iterations, "ftol": TOLERANCE}
    if not len(places.order):
        return start
    first = _parameters(start, is_possible)
    return unpack(minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x)


def text_losses(words: TaggedWords, field: Field) -> Doubles:
    """(n,) the negative logarithm of the probability of the allowed tags of each text, in the order of `places`."""
    if not words.places.n_texts:
        return np.zeros(0)
    scores = field.scores(words.features)
    sums, allowed = (sum_over_paths(scores, words.places, field.chain, mask) for mask in (None, words.allowed))
    return np.asarray(sums.log_partition - allowed.log_partition)


def _parameters(field: Field, is_possible: Mask) -> Doubles:
    """The weights, the bias and the scores of the possible steps of a field, as one array."""
    steps = _steps(field.chain)[is_possible]
    return np.concatenate([field.weights.ravel(), field.bias, steps]).astype(np.float64)


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
