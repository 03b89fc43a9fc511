"""The sums over all sequences of tags of a linear-chain conditional random field, and the probabilities that follow.

Lafferty, McCallum and Pereira, "Conditional Random Fields" (ICML 2001). The forward and backward sums are normalised in
each step (Rabiner, "A Tutorial on Hidden Markov Models", Proc. IEEE 1989, section V.A), so that no logarithm of a sum
is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Mask
from plugins.learners.crf.places import Places

Doubles = npt.NDArray[np.float64]
Numbers = Floats | Doubles


MAX_DENSE_TAGS = 64
"""Tags up to which steps are taken by a matrix."""
MAX_MODERATE_SCORE = 15.0
"""Scores below which the products of probabilities are in the range of float32, whose logarithm is up to 87."""
OUTSIDE = 0
"""The tag of a word that is in no span."""


def first_tags(m: int) -> slice:
    """The tags of the first word of a span of each of m types."""
    return slice(1, 1 + m)


def inside_tags(m: int) -> slice:
    """The tags of a further word of a span of each of m types. Such a tag follows a tag of the same type."""
    return slice(1 + m, 1 + 2 * m)


@dataclass(frozen=True, slots=True)
class Chain:
    """The scores of steps from a tag to the next one, for m types and k = 1 + 2 m tags. All other possible steps have
    the score 0, so that a step costs k operations and not k * k (measured: as good as a score for each pair of tags).

    longer    (m,) of the step from the first word of a span of each type to its second word
    adjacent  of the step from any span to another one that begins at the next word
    start     (1 + m,) of the tag of the first word of a text, which is no inside tag
    end       (k,) of the tag of the last word
    """

    longer: Doubles
    adjacent: float
    start: Doubles
    end: Doubles

    @classmethod
    def of(cls, values: Doubles) -> Chain:
        """The inverse of `values`."""
        m = (len(values) - 3) // 4
        return cls(values[:m], float(values[m]), values[m + 1 : 2 * m + 2], values[2 * m + 2 :])

    @property
    def values(self) -> Doubles:
        """(4 m + 3,) all scores, in the order of the fields."""
        return np.concatenate([self.longer, [self.adjacent], self.start, self.end])


def blank_chain(m: int) -> Chain:
    """The chain of m types in which all scores are 0."""
    return Chain.of(np.zeros(4 * m + 3))


@dataclass(frozen=True, slots=True)
class Sums:
    """The forward and backward sums of the w words, in the order of `places`, float32 or float64.

    scaled         (w, k) exp of the words' scores and, for last words, of the end, divided as the forward sums are
    forward        (w, k) the probability of each tag given the words up to it
    backward       (w, k) so that forward * backward is the probability of each tag given all words
    log_partition  (n,) of the texts in the order of their lengths, the longest first
    """

    places: Places
    scaled: Numbers
    forward: Numbers
    backward: Numbers
    log_partition: Doubles

    @property
    def tag_marginals(self) -> Numbers:
        """(w, k) the probability of each tag of each word."""
        return self.forward * self.backward


class _DenseSteps:
    """The sums over one step, by a matrix with k * k numbers: faster for few tags."""

    def __init__(self, chain: Chain, is_single: bool) -> None:
        steps, identity = _SparseSteps(chain, is_single), _in_precision(np.eye(len(chain.end)), is_single)
        self._matrix, self._transposed = steps.forward(identity), steps.backward(identity)

    def forward(self, before: Numbers) -> Numbers:
        return np.asarray(before @ self._matrix)

    def backward(self, after: Numbers) -> Numbers:
        return np.asarray(after @ self._transposed)


class _SparseSteps:
    """The sums over one step, in k operations."""

    def __init__(self, chain: Chain, is_single: bool) -> None:
        m = len(chain.longer)
        self._longer, self._adjacent = _in_precision(np.exp(chain.longer), is_single), float(np.exp(chain.adjacent))
        self._first, self._inside = first_tags(m), inside_tags(m)

    def forward(self, before: Numbers) -> Numbers:
        """(n, k) for each next tag the sum over the tags before it, which are weighted by `before` (n, k)."""
        out, in_spans = np.empty_like(before), before[:, 1:].sum(axis=1, keepdims=True)
        out[:, :1] = before[:, :1] + in_spans
        out[:, self._first] = before[:, :1] + self._adjacent * in_spans
        out[:, self._inside] = before[:, self._first] * self._longer + before[:, self._inside]
        return out

    def backward(self, after: Numbers) -> Numbers:
        """(n, k) for each tag the sum over the next tags, which are weighted by `after` (n, k)."""
        out, begins = np.empty_like(after), after[:, self._first].sum(axis=1, keepdims=True)
        out[:, :1] = after[:, :1] + begins
        out[:, 1:] = after[:, :1] + self._adjacent * begins
        out[:, self._first] += self._longer * after[:, self._inside]
        out[:, self._inside] += after[:, self._inside]
        return out


def _in_precision(values: Numbers, is_single: bool) -> Numbers:
    return values.astype(np.float32) if is_single else values.astype(np.float64)


def _is_single(scores: Numbers, chain: Chain) -> bool:
    """Whether float32, which is faster, is used: for scores of this type among which none is large."""
    largest = max(np.abs(scores).max(initial=0), np.abs(chain.values).max())
    return scores.dtype == np.float32 and bool(largest < MAX_MODERATE_SCORE)


def sum_over_paths(scores: Numbers, places: Places, chain: Chain, allowed: Mask | None = None) -> Sums:
    """The sums over all sequences of tags.

    scores   (w, k) of the tags of each word, in the order of `places`
    allowed  (w, k) bool: tags that are possible; None for all. Each text has at least one possible sequence
    """
    m, n = len(chain.longer), places.n_texts
    is_single = _is_single(scores, chain)
    scores = _in_precision(scores, is_single)
    scores[places.following < 0] += chain.end
    if allowed is not None:
        scores[~allowed] = -np.inf
    scores[:n, inside_tags(m)] = -np.inf
    scores[:n, : 1 + m] += chain.start
    peaks = scores.max(axis=1, keepdims=True)
    scores -= peaks
    emissions = np.exp(scores, out=scores)
    steps = (_DenseSteps if len(chain.end) <= MAX_DENSE_TAGS else _SparseSteps)(chain, is_single)
    forward, scale = emissions.copy(), np.empty((len(emissions), 1), emissions.dtype)
    spans = [slice(int(begin), int(end)) for begin, end in pairwise(places.bounds)]
    for place, words in enumerate(spans):
        sums = forward[words]
        if place:
            begin = spans[place - 1].start
            sums *= steps.forward(forward[begin : begin + len(sums)])
        sums.sum(axis=1, keepdims=True, out=scale[words])
        sums /= scale[words]
    backward = np.ones_like(emissions)
    scaled = emissions / scale
    for place in range(len(spans) - 2, -1, -1):
        after, begin = spans[place + 1], spans[place].start
        backward[begin : begin + after.stop - after.start] = steps.backward(backward[after] * scaled[after])
    logs = np.log(scale) + peaks
    log_partition = np.asarray(np.bincount(places.ranks, logs[:, 0], n), np.float64)
    return Sums(places, scaled, forward, backward, log_partition)


def step_expectations(sums: Sums, chain: Chain, weights: Numbers) -> Doubles:
    """(4 m + 3,) how often the steps of a chain are expected, in the order of `Chain.values`. weights: (w,) of the text
    of each word"""
    marginals = sums.tag_marginals * weights[:, None]
    into = sums.backward * sums.scaled * weights[:, None]
    counts = count_steps(sums.places, sums.forward, into, marginals)
    m = len(chain.longer)
    counts[: m + 1] *= np.exp(chain.values[: m + 1])
    return counts


def count_steps(places: Places, before: Numbers, into: Numbers, tags: Numbers) -> Doubles:
    """(4 m + 3,) the counts of the steps of a chain: of each step between two words the product of `before` (w, k) of
    the first one and `into` (w, k) of the second one, of starts and ends those of `tags` (w, k)."""
    m, n = tags.shape[1] // 2, places.n_texts
    previous, into = places.previous[n:], into[n:]
    longer = np.einsum("wm,wm->m", before[:, first_tags(m)][previous], into[:, inside_tags(m)])
    adjacent = before[:, 1:].sum(axis=1)[previous] @ into[:, first_tags(m)].sum(axis=1)
    start, end = tags[:n, : 1 + m].sum(axis=0), tags[places.following < 0].sum(axis=0)
    return np.asarray(np.concatenate([longer, [adjacent], start, end]), np.float64)
