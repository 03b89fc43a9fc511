"""Fits a linear-chain conditional random field on word features, also where only a part of the tags is known.

The loss is the negative logarithm of the probability of all sequences of tags that the labels allow (Tsuboi, Kashima,
Mori, Oda and Matsumoto, "Training Conditional Random Fields Using Incomplete Annotations", COLING 2008, equation 5),
which is the usual one if they allow a single sequence, plus half the squared weights times `PENALTY`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ml_backend.core.arrays import Floats, Ints, Mask
from plugins.learners.linear_chain import Chain, Doubles, step_expectations, sum_over_paths, tag_marginals

PENALTY = 100.0
"""Of the weights of features that are standardised; the scores of steps are not penalised as strongly."""
STEP_PENALTY = 1.0
TOLERANCE = 1e-4  # relative change of the loss below which the fit ends


@dataclass(frozen=True, slots=True)
class Words:
    """The words of n sequences: their features (w, d) one sequence after another, and the lengths (n,) of these."""

    features: Floats
    lengths: Ints

    @property
    def places(self) -> tuple[Ints, Ints]:
        """(w,) the sequence of each word, and (w,) its place in it."""
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)
        starts = np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        return rows, np.arange(len(rows)) - starts


@dataclass(frozen=True, slots=True)
class Field:
    """A fitted field: weights (d, k) and bias (k,) of the features, and the scores of steps."""

    weights: Doubles
    bias: Doubles
    chain: Chain

    def scores(self, words: Words) -> Doubles:
        """(n, t, k) the scores of the tags of each word, 0 behind the words."""
        rows, places = words.places
        longest = int(words.lengths.max(initial=1))
        scores = np.zeros((len(words.lengths), longest, len(self.bias)))
        scores[rows, places] = words.features @ self.weights + self.bias
        return scores


def fit(words: Words, allowed: Mask, row_weights: Doubles, start: Field, max_iterations: int) -> Field:
    """The field with the least loss, from `start`, whose steps of -inf stay forbidden.

    allowed      (n, t, k) bool: the tags that the labels allow for each word
    row_weights  (n,) of the sequences
    """
    d, k = start.weights.shape
    rows, places = words.places
    features = np.asarray(words.features, np.float32)
    is_possible = np.isfinite(_steps(start.chain))
    is_known = _are_known(allowed, words.lengths)
    known_words, known_steps = _counts(allowed, words.lengths, row_weights * is_known)
    partly = np.flatnonzero(~is_known & (row_weights > 0))

    def unpack(parameters: Doubles) -> Field:
        weights, bias, steps = np.split(parameters, [d * k, d * k + k])
        all_steps = np.full(is_possible.shape, -np.inf)
        all_steps[is_possible] = steps
        return Field(weights.reshape(d, k), bias, Chain(all_steps[:k], all_steps[k], all_steps[k + 1]))

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        field = unpack(parameters)
        scores = field.scores(Words(features, words.lengths))
        steps = _steps(field.chain)[is_possible]
        value, word_gradient, step_gradient = _expected(scores, words.lengths, field.chain, row_weights)
        value -= float((scores * known_words).sum() + steps @ known_steps[is_possible])
        word_gradient -= known_words
        step_gradient -= known_steps
        if len(partly):
            parts = scores[partly], words.lengths[partly], field.chain, row_weights[partly], allowed[partly]
            partly_value, partly_words, partly_steps = _expected(*parts)
            value -= partly_value
            word_gradient[partly] -= partly_words
            step_gradient -= partly_steps
        of_words = word_gradient[rows, places].astype(np.float32)
        value += 0.5 * PENALTY * float(np.square(field.weights).sum()) + 0.5 * STEP_PENALTY * float(steps @ steps)
        gradient = [
            (features.T @ of_words).astype(np.float64).ravel() + PENALTY * field.weights.ravel(),
            of_words.sum(axis=0, dtype=np.float64),
            step_gradient[is_possible] + STEP_PENALTY * steps,
        ]
        return value, np.concatenate(gradient)

    first = np.concatenate([start.weights.ravel(), start.bias, _steps(start.chain)[is_possible]])
    options = {"maxiter": max_iterations, "ftol": TOLERANCE}
    return unpack(minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x)


def _expected(
    scores: Doubles, lengths: Ints, chain: Chain, row_weights: Doubles, allowed: Mask | None = None
) -> tuple[float, Doubles, Doubles]:
    """The weighted sum of the logarithms of the partition functions, and its derivatives by the scores of the words (n,
    t, k) and of the steps (k + 2, k)."""
    sums = sum_over_paths(scores, lengths, chain, allowed)
    marginals = tag_marginals(sums) * row_weights[:, None, None]
    last = marginals[np.arange(len(marginals)), lengths - 1].sum(axis=0)
    steps = np.vstack([step_expectations(sums, chain, row_weights), marginals[:, 0].sum(axis=0), last])
    return float(row_weights @ sums.log_partition), marginals, steps


def _are_known(allowed: Mask, lengths: Ints) -> Mask:
    """(n,) bool: whether each word of a sequence has a single allowed tag."""
    is_word = np.arange(allowed.shape[1]) < lengths[:, None]
    return np.asarray(((allowed.sum(axis=2) == 1) | ~is_word).all(axis=1))


def _counts(allowed: Mask, lengths: Ints, row_weights: Doubles) -> tuple[Doubles, Doubles]:
    """How often the only allowed tags (n, t, k) occur, and the steps between them (k + 2, k), with weights (n,)."""
    is_word = np.arange(allowed.shape[1]) < lengths[:, None]
    tags = allowed * is_word[:, :, None] * row_weights[:, None, None]
    k = allowed.shape[2]
    before, after = (allowed & (row_weights > 0)[:, None, None])[:, :-1].reshape(-1, k), tags[:, 1:].reshape(-1, k)
    pairs = before.astype(np.float64).T @ after
    last = tags[np.arange(len(tags)), lengths - 1].sum(axis=0)
    return tags, np.vstack([pairs, tags[:, 0].sum(axis=0), last])


def _steps(chain: Chain) -> Doubles:
    """(k + 2, k) the scores of all steps: those from tag to tag, then those of the first and of the last tag."""
    return np.vstack([chain.transitions, chain.start, chain.end])
