"""The probability that a word is edited: logistic regression on the features of words.

Several heads are fitted at once: one on all texts, and one for each fold on the texts outside of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.text_drafts import Doubles
from plugins.learners.calibration import probabilities
from plugins.learners.crf.lbfgs import Limits, minimize

PENALTY, LEXICON_PENALTY, BIAS_PENALTY = 200.0, 1.0, 1e-3
"""Of the squared weights: of the standardised features of words, of those of the lexicon, and of the bias."""
VARIANCE_SHARE = 0.3
"""Estimate of p (1 - p) in a fitted regression as a share of its value for the mean p."""


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """The w words that h heads are fitted on.

    dense    (w, a) features that are the same for all heads
    lexical  (h, w, b) features of the lexicon
    targets  (w,) 1 for a word that is edited, 0 for one that is kept
    weights  (h, w) the weight of each word, 0 for those that a head is not fitted on
    """

    dense: Floats
    lexical: Floats
    targets: Floats
    weights: Floats


def fit(words: TaggedWords, starts: Doubles | None, limits: Limits) -> Doubles:
    """(h, a + b + 1) the weights of h heads and their bias. starts: where the search starts, of the same form; None for
    heads in which all words are edited equally often"""
    losses = _Losses(words)
    if starts is None:
        starts = np.zeros_like(losses.scales)
        starts[:, -1] = np.log(losses.rates / (1 - losses.rates))
    return minimize(losses, starts / losses.scales, limits) * losses.scales


class _Losses:
    """The losses of h heads. Their parameters are scaled by the square roots of estimated second derivatives, which
    makes the search faster."""

    def __init__(self, words: TaggedWords) -> None:
        self._words = words
        ones = np.ones((*words.lexical.shape[:2], 1), np.float32)
        self._lexical = np.concatenate([words.lexical, ones], axis=2)
        a, b = words.dense.shape[1], words.lexical.shape[2]
        self._penalties = np.concatenate([np.full(a, PENALTY), np.full(b, LEXICON_PENALTY), [BIAS_PENALTY]])
        self.rates = np.asarray((words.weights @ words.targets + 0.5) / (words.weights.sum(axis=1) + 1), np.float64)
        squares = np.hstack(
            [
                words.weights @ np.square(words.dense),
                np.einsum("hw,hwb->hb", words.weights, np.square(self._lexical)),
            ]
        )
        variances = VARIANCE_SHARE * self.rates * (1 - self.rates)
        self.scales: Doubles = (variances[:, None] * squares + self._penalties) ** -0.5

    def __call__(self, parameters: Doubles) -> tuple[Doubles, Doubles]:
        """The losses (h,) and their gradients (h, p)."""
        words, betas = self._words, parameters * self.scales
        a, single = words.dense.shape[1], betas.astype(np.float32)
        logits = single[:, :a] @ words.dense.T + np.einsum("hb,hwb->hw", single[:, a:], self._lexical)
        values = np.einsum("hw,hw->h", words.weights, np.logaddexp(0, logits) - words.targets * logits)
        residuals = words.weights * (probabilities(logits, multiple=True) - words.targets)
        of_weights = np.hstack([residuals @ words.dense, np.einsum("hw,hwb->hb", residuals, self._lexical)])
        losses = values + 0.5 * np.square(betas) @ self._penalties
        return losses, (of_weights + self._penalties * betas) * self.scales
