"""The probabilities of spans and of the most probable tags, from the sums of a chain.

The probability of a span follows from the forward and backward sums, as for any set of consecutive tags (Culotta and
McCallum, "Confidence Estimation for Information Extraction", HLT-NAACL 2004, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ml_backend.core.arrays import Floats, Ints
from plugins.learners.crf.chain import OUTSIDE, Chain, Doubles, Numbers, Sums, first_tags, inside_tags


@dataclass(frozen=True, slots=True)
class SpanMarginals:
    """Spans with their probabilities: the first word (s,) and the last one (s,), as indices into the words in the order
    of places; the type (s,); and the probability (s,)."""

    first: Ints
    last: Ints
    types: Ints
    probabilities: Floats


def span_marginals(sums: Sums, chain: Chain, floor: float) -> SpanMarginals:
    """All spans whose probability is at least `floor`. A span ends where the next word does not continue it, or with
    the text."""
    m = len(chain.longer)
    scaled = sums.scaled[:, inside_tags(m)]
    forward, backward = sums.forward[:, first_tags(m)], sums.backward[:, first_tags(m)]
    starts, types = np.nonzero(forward * backward >= floor)
    ends, path, longer = starts, forward[starts, types], np.exp(chain.longer)
    found: list[tuple[Ints, Ints, Ints, Doubles]] = []
    while len(starts):
        total = path * backward[ends, types]
        backward = sums.backward[:, inside_tags(m)]
        following = sums.places.following[ends]
        step = np.where(following >= 0, path * longer[types] * scaled[following, types], 0.0)
        goes_on = step * backward[following, types]
        is_span = total - goes_on >= floor
        found.append((starts[is_span], ends[is_span], types[is_span], (total - goes_on)[is_span]))
        kept = (following >= 0) & (goes_on >= floor)
        starts, ends, types, path = starts[kept], following[kept], types[kept], step[kept]
        longer = np.ones(m)
    if not found:
        return SpanMarginals(starts, starts, types, np.empty(0, np.float32))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return SpanMarginals(columns[0], columns[1], columns[2], np.clip(columns[3], 0.0, 1.0).astype(np.float32))


def best_log_probabilities(scores: Numbers, sums: Sums, chain: Chain) -> Doubles:
    """(n,) the logarithm of the probability of the most probable tags (Viterbi), in the order of `log_partition`."""
    places, m = sums.places, len(chain.longer)
    first, inside = first_tags(m), inside_tags(m)
    scores = scores + np.where((places.following < 0)[:, None], chain.end, 0.0)
    scores[: places.n_texts, inside] = -np.inf
    scores[: places.n_texts, : 1 + m] += chain.start
    best = scores[: places.n_texts].copy()
    for begin, end in pairwise(places.bounds[1:].tolist()):
        before, words = best[: end - begin], scores[begin:end]
        in_span = before[:, 1:].max(axis=1)
        begins = np.maximum(before[:, OUTSIDE], in_span + chain.adjacent)
        goes_on = np.maximum(before[:, first] + chain.longer, before[:, inside])
        before[:, OUTSIDE] = np.maximum(before[:, OUTSIDE], in_span)
        before[:, first], before[:, inside] = begins[:, None], goes_on
        before += words
    return np.asarray(best.max(axis=1) - sums.log_partition)
