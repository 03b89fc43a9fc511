"""A linear-chain conditional random field over sequences of words: its likelihood, gradient and exact marginals.

Lafferty, McCallum and Pereira, "Conditional Random Fields" (ICML 2001). The forward and backward sums are normalised in
each step (Rabiner, "A Tutorial on Hidden Markov Models", Proc. IEEE 1989, section V.A), so that no logarithm of a sum
is needed. The probability of a span follows from the same sums, as for any set of consecutive tags (Culotta and
McCallum, "Confidence Estimation for Information Extraction", HLT-NAACL 2004, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Ints, Mask

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chain:
    """The scores of a tag after another one: `transitions` (k, k), from row to column; `start` (k,) of the first tag,
    `end` (k,) of the last one. -inf forbids a step."""

    transitions: Doubles
    start: Doubles
    end: Doubles


@dataclass(frozen=True, slots=True)
class Sums:
    """The forward and backward sums of n sequences of at most t words with k tags.

    emissions     (n, t, k) exp of the words' scores, with a maximum of 1 for each word; 0 for forbidden tags
    forward       (n, t, k) the probability of each tag given the words up to it
    backward      (n, t, k) so that forward * backward is the probability of each tag given all words
    scale         (n, t) the factor by which the forward sums of a word were divided
    lengths       (n,) words of each sequence; what lies behind them has no meaning
    log_partition (n,)
    """

    emissions: Doubles
    forward: Doubles
    backward: Doubles
    scale: Doubles
    lengths: Ints
    log_partition: Doubles


def sum_over_paths(scores: Doubles, lengths: Ints, chain: Chain, allowed: Mask | None = None) -> Sums:
    """The sums over all sequences of tags.

    scores   (n, t, k) of the tags of each word
    lengths  (n,) words of each sequence, at least 1
    allowed  (n, t, k) bool: tags that are possible; None for all. Each word has at least one, and each sequence at
             least one possible path
    """
    n, t, k = scores.shape
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    peaks = scores.max(axis=2)
    emissions = np.exp(scores - peaks[:, :, None])
    transitions, start, end = np.exp(chain.transitions), np.exp(chain.start), np.exp(chain.end)
    rows = np.arange(n)
    is_last = np.arange(t) == lengths[:, None] - 1
    forward, scale = np.zeros((n, t, k)), np.ones((n, t))
    for place in range(t):
        before = np.broadcast_to(start, (n, k)) if place == 0 else forward[:, place - 1] @ transitions
        sums = before * emissions[:, place] * np.where(is_last[:, place, None], end, 1.0)
        scale[:, place] = np.where(place < lengths, sums.sum(axis=1), 1.0)
        forward[:, place] = sums / scale[:, place, None]
    backward = np.zeros((n, t, k))
    backward[rows, lengths - 1] = 1.0
    for place in range(t - 2, -1, -1):
        ends = np.where(is_last[:, place + 1, None], end, 1.0)
        after = (backward[:, place + 1] * emissions[:, place + 1] * ends) @ transitions.T / scale[:, place + 1, None]
        is_inside = (place < lengths - 1)[:, None]
        backward[:, place] = np.where(is_inside, after, backward[:, place])
    is_word = np.arange(t) < lengths[:, None]
    log_partition = ((np.log(scale) + np.where(is_word, peaks, 0.0)) * is_word).sum(axis=1)
    return Sums(emissions, forward, backward, scale, lengths, log_partition)


def tag_marginals(sums: Sums) -> Doubles:
    """(n, t, k) the probability of each tag of each word; 0 behind the words."""
    is_word = np.arange(sums.forward.shape[1]) < sums.lengths[:, None]
    return np.where(is_word[:, :, None], sums.forward * sums.backward, 0.0)


def step_expectations(sums: Sums, chain: Chain, weights: Doubles) -> Doubles:
    """(k, k) how often each step from a tag to the next is expected, summed over the sequences with weights (n,)."""
    _, t, k = sums.forward.shape
    end, total = np.exp(chain.end), np.zeros((k, k))
    is_last = np.arange(t) == sums.lengths[:, None] - 1
    for place in range(1, t):
        is_step = (place < sums.lengths) * weights / sums.scale[:, place]
        ends = np.where(is_last[:, place, None], end, 1.0)
        into = sums.backward[:, place] * sums.emissions[:, place] * ends * is_step[:, None]
        total += sums.forward[:, place - 1].T @ into
    return np.asarray(total * np.exp(chain.transitions))


def span_marginals(sums: Sums, chain: Chain, first: Ints, inside: Ints, longest: int) -> Doubles:
    """(n, t, longest, m) the probability that a span of one of m types begins at a word and has 1, 2, ... words.

    first, inside  (m,) the tags of the first and of each further word of a span of a type. A span ends where the next
                   word does not continue it, or with the sequence
    """
    n, t, _ = sums.forward.shape
    transitions, start, end = np.exp(chain.transitions), np.exp(chain.start), np.exp(chain.end)
    is_last = np.arange(t) == sums.lengths[:, None] - 1
    scaled = sums.emissions * np.where(is_last[:, :, None], end, 1.0) / sums.scale[:, :, None]  # (n, t, k)
    arriving = np.empty((n, t, len(first)))
    arriving[:, 0] = start[first] * scaled[:, 0][:, first]
    arriving[:, 1:] = (sums.forward[:, :-1] @ transitions[:, first]) * scaled[:, 1:][:, :, first]
    out = np.zeros((n, t, longest, len(first)))
    path, tags = arriving, first
    for length in range(1, longest + 1):
        places = np.arange(t - length + 1)
        ends_at = places + length - 1
        is_inside = ends_at < sums.lengths[:, None]
        total = path[:, places] * sums.backward[:, ends_at][:, :, tags]
        follows = np.minimum(ends_at + 1, t - 1)
        continued = (
            path[:, places]
            * transitions[tags, inside]
            * scaled[:, follows][:, :, inside]
            * sums.backward[:, follows][:, :, inside]
        )
        has_next = ends_at + 1 < sums.lengths[:, None]
        ended = total - np.where(has_next[:, :, None], continued, 0.0)
        out[:, places, length - 1] = np.where(is_inside[:, :, None], ended, 0.0)
        if length < longest and length < t:
            nxt = np.arange(t - length)
            path = path[:, nxt] * transitions[tags, inside] * scaled[:, nxt + length][:, :, inside]
            tags = inside
    return out.clip(0.0, 1.0)
