"""Selects few-shot examples for a text from the annotated tasks: near to the text, different from each other, and
without probable labelling errors.

Near: Liu et al., "What Makes Good In-Context Examples for GPT-3?" (DeeLIO 2022). Different from each other: maximal
marginal relevance, Carbonell and Goldstein (SIGIR 1998). Of small loss, because a mislabelled example does harm:
FreeAL, Xiao et al. (EMNLP 2023).
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask

MAX_EXAMPLES = 6
MAX_ERROR_PROBABILITY = 0.8
"""Held-out probability of a wrong prediction above which an annotation counts as a probable labelling error."""
REDUNDANCY_WEIGHT = 0.5
"""Factor with which the similarity to the nearest chosen example is subtracted from the similarity to the text."""


def choose_examples(
    vector: Floats, vectors: Floats, error_probabilities: Floats, k: int = MAX_EXAMPLES, is_wanted: Mask | None = None
) -> Ints:
    """(at most k,) rows of `vectors` (n, d) for a text with the vector `vector` (d,), in ascending order of relevance,
    because an example has the more influence the nearer it is to the question.

    error_probabilities  (n,) the held-out probability of a wrong prediction, NaN where unknown
    is_wanted            (n,) the examples of which one is chosen in any case; None if there are none
    """
    similarities = vectors @ vector
    usable = np.flatnonzero(~(np.nan_to_num(error_probabilities, nan=0.0) > MAX_ERROR_PROBABILITY))
    chosen: list[int] = []
    redundancy = np.zeros(len(vectors), np.float32)
    for _ in range(min(k, len(usable))):
        gain = similarities[usable] - REDUNDANCY_WEIGHT * redundancy[usable]
        gain[np.isin(usable, chosen)] = -np.inf
        best = int(usable[gain.argmax()])
        chosen.append(best)
        redundancy = np.maximum(redundancy, vectors @ vectors[best])
    if is_wanted is not None and chosen and not is_wanted[chosen].any():
        wanted = usable[is_wanted[usable]]
        if len(wanted):
            chosen[-1] = int(wanted[similarities[wanted].argmax()])
    return np.array(chosen[::-1], np.int64)
