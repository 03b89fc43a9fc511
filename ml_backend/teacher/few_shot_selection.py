"""Which of the annotators' own answers a teacher is shown beside a text: near to it, unlike each other, and not odd.

Near: Liu et al., "What Makes Good In-Context Examples for GPT-3?" (DeeLIO 2022). Unlike each other: maximal marginal
relevance, Carbonell and Goldstein (SIGIR 1998). Of small loss, as a mislabelled example does harm: FreeAL, Xiao et al.
(EMNLP 2023).
"""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import Floats, Ints

MOST = 6
ODD = 0.8
"""Held-out probability of a wrong answer above which a label may be a slip."""
REDUNDANCY = 0.5


def choose(vector: Floats, vectors: Floats, errors: Floats, k: int = MOST) -> Ints:
    """At most k rows of `vectors` (n, d) for a text at `vector` (d,), the best last: what stands nearest to the
    question counts most. errors (n,): the held-out probability of a wrong answer, NaN where unknown."""
    near = vectors @ vector
    usable = np.flatnonzero(~(np.nan_to_num(errors, nan=0.0) > ODD))
    chosen: list[int] = []
    covered = np.zeros(len(vectors), np.float32)
    for _ in range(min(k, len(usable))):
        gain = near[usable] - REDUNDANCY * covered[usable]
        gain[np.isin(usable, chosen)] = -np.inf
        best = int(usable[gain.argmax()])
        chosen.append(best)
        covered = np.maximum(covered, vectors @ vectors[best])
    return np.array(chosen[::-1], np.int64)
