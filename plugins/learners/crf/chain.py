"""The sums over all sequences of tags of a linear-chain conditional random field, and the probabilities that follow.

Lafferty, McCallum and Pereira, "Conditional Random Fields" (ICML 2001). The forward and backward sums are normalised in
each step (Rabiner, "A Tutorial on Hidden Markov Models", Proc. IEEE 1989, section V.A), so that no logarithm of a sum
is needed. The probability of a span follows from the same sums, as for any set of consecutive tags (Culotta and
McCallum, "Confidence Estimation for Information Extraction", HLT-NAACL 2004, section 4).

The words of n texts are in the order of their places: all first words, then all second words, and so on, the longest
text first. So a step of the sums is one product of matrices, without padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Floats, Ints, Mask

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chain:
    """The scores of a tag after another one: `transitions` (k, k), from row to column; `start` (k,) of the first tag,
    `end` (k,) of the last one. -inf forbids a step."""

    transitions: Doubles
    start: Doubles
    end: Doubles


@dataclass(frozen=True, slots=True)
class Places:
    """The order of the w words of n texts by their places.

    order     (w,) the words in this order, as indices into the words text by text
    texts     (w,) the text of each word, in this order
    bounds    (t + 1,) the words of place p are those from bounds[p] to bounds[p + 1]
    previous  (w,) the word before each word, in this order; -1 for the first words
    following (w,) the word after each word, in this order; -1 for the last words
    """

    order: Ints
    texts: Ints
    bounds: Ints
    previous: Ints
    following: Ints

    @property
    def n_texts(self) -> int:
        """n, without texts that have no words."""
        return int(self.bounds[1]) if len(self.bounds) > 1 else 0


def sort_by_place(lengths: Ints) -> Places:
    """The order of the words of texts (n,) with these numbers of words, one of which may be 0."""
    by_length = np.argsort(-lengths, kind="stable")
    starts = np.cumsum(lengths) - lengths
    longest = int(lengths.max(initial=0))
    counts = (np.sort(lengths)[::-1, None] > np.arange(longest)).sum(axis=0) if longest else np.empty(0, np.int64)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    places = np.repeat(np.arange(longest), counts)
    ranks = np.arange(int(bounds[-1])) - bounds[places]
    texts = by_length[ranks]
    previous = np.where(places > 0, bounds[np.maximum(places - 1, 0)] + ranks, -1)
    has_next = places + 1 < lengths[texts]
    following = np.where(has_next, bounds[places + 1] + ranks, -1)
    return Places(starts[texts] + places, texts, bounds, previous, following)


@dataclass(frozen=True, slots=True)
class Sums:
    """The forward and backward sums of the w words, in the order of `places`.

    emissions      (w, k) exp of the words' scores and, for last words, of the end; the highest of a word is 1
    forward        (w, k) the probability of each tag given the words up to it
    backward       (w, k) so that forward * backward is the probability of each tag given all words
    scale          (w,) the factor by which the forward sums of a word were divided
    log_partition  (n,) of the texts in the order of their lengths, the longest first
    """

    places: Places
    emissions: Doubles
    forward: Doubles
    backward: Doubles
    scale: Doubles
    log_partition: Doubles

    @property
    def tag_marginals(self) -> Doubles:
        """(w, k) the probability of each tag of each word."""
        return self.forward * self.backward


def sum_over_paths(scores: Floats | Doubles, places: Places, chain: Chain, allowed: Mask | None = None) -> Sums:
    """The sums over all sequences of tags.

    scores   (w, k) of the tags of each word, in the order of `places`
    allowed  (w, k) bool: tags that are possible; None for all. Each text has at least one possible sequence
    """
    bounds, is_last = places.bounds, places.following < 0
    scores = scores + np.where(is_last[:, None], chain.end, 0.0)
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    peaks = scores.max(axis=1, keepdims=True)
    emissions = np.exp(scores - peaks)
    transitions, start = np.exp(chain.transitions), np.exp(chain.start)
    forward, scale = np.empty_like(emissions), np.empty(len(emissions))
    spans = [slice(int(first), int(end)) for first, end in pairwise(bounds)]
    for place, words in enumerate(spans):
        if place == 0:
            sums = start * emissions[words]
        else:
            before = spans[place - 1].start
            sums = (forward[before : before + words.stop - words.start] @ transitions) * emissions[words]
        scale[words] = sums.sum(axis=1)
        forward[words] = sums / scale[words, None]
    backward = np.ones_like(emissions)
    scaled = emissions / scale[:, None]
    for place in range(len(spans) - 2, -1, -1):
        after = spans[place + 1]
        first = spans[place].start
        backward[first : first + after.stop - after.start] = (backward[after] * scaled[after]) @ transitions.T
    logs = np.log(scale) + peaks[:, 0]
    log_partition = np.asarray(np.bincount(_ranks(places), logs, places.n_texts), np.float64)
    return Sums(places, emissions, forward, backward, scale, log_partition)


def step_expectations(sums: Sums, chain: Chain, weights: Floats | Doubles) -> Doubles:
    """(k, k) how often each step from a tag to the next is expected. weights: (w,) of the text of each word"""
    rows = np.flatnonzero(sums.places.previous >= 0)
    into = sums.backward[rows] * sums.emissions[rows] * (weights[rows] / sums.scale[rows])[:, None]
    counts = sums.forward[sums.places.previous[rows]].T @ into
    return np.asarray(counts * np.exp(chain.transitions))


@dataclass(frozen=True, slots=True)
class SpanMarginals:
    """Spans with their probabilities: the first word (s,) and the last one (s,), as indices into the words in the order
    of places; the type (s,); and the probability (s,)."""

    first: Ints
    last: Ints
    types: Ints
    probabilities: Floats


def span_marginals(sums: Sums, chain: Chain, first: Ints, inside: Ints, floor: float) -> SpanMarginals:
    """All spans whose probability is at least `floor`.

    first, inside  (m,) the tags of the first and of each further word of a span of a type. A span ends where the next
                   word does not continue it, or with the text
    """
    continues = np.exp(chain.transitions)
    scaled = sums.emissions / sums.scale[:, None]
    begins = sums.forward[:, first] * sums.backward[:, first]
    starts, types = np.nonzero(begins >= floor)
    ends, path, tags = starts, sums.forward[starts, first[types]], first[types]
    found: list[tuple[Ints, Ints, Ints, Doubles]] = []
    while len(starts):
        total = path * sums.backward[ends, tags]
        following = sums.places.following[ends]
        step = np.where(following >= 0, path * continues[tags, inside[types]] * scaled[following, inside[types]], 0.0)
        goes_on = step * sums.backward[following, inside[types]]
        is_span = total - goes_on >= floor
        found.append((starts[is_span], ends[is_span], types[is_span], (total - goes_on)[is_span]))
        kept = (following >= 0) & (goes_on >= floor)
        starts, ends, types, path = starts[kept], following[kept], types[kept], step[kept]
        tags = inside[types]
    if not found:
        return SpanMarginals(starts, starts, types, np.empty(0, np.float32))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return SpanMarginals(columns[0], columns[1], columns[2], np.clip(columns[3], 0.0, 1.0).astype(np.float32))


def best_log_probabilities(scores: Floats | Doubles, sums: Sums, chain: Chain) -> Doubles:
    """(n,) the logarithm of the probability of the most probable tags (Viterbi), in the order of `log_partition`."""
    places, bounds = sums.places, sums.places.bounds
    scores = scores + np.where((places.following < 0)[:, None], chain.end, 0.0)
    best = np.empty((places.n_texts, len(chain.start)))
    for place in range(len(bounds) - 1):
        words = scores[bounds[place] : bounds[place + 1]]
        n = len(words)
        best[:n] = words + (chain.start if place == 0 else (best[:n, :, None] + chain.transitions).max(axis=1))
    return np.asarray(best.max(axis=1) - sums.log_partition)


def _ranks(places: Places) -> Ints:
    """(w,) for each word the rank of its text by length, the longest first."""
    return np.arange(int(places.bounds[-1])) - np.repeat(places.bounds[:-1], np.diff(places.bounds))
