"""How unsure a learner is of each row, as one number in [0, 1]: 1 where it cannot tell, 0 where it is certain.

One choice: 1 - (best - second best), from the margin of Scheffer, Decomain, Wrobel: "Active Hidden Markov Models for
Information Extraction" (IDA 2001). Several: 1 - |2p - 1| of the label nearest to one half (binary margin; Brinker: "On
Active Learning in Multi-label Classification", 2006).
"""

from __future__ import annotations

import numpy as np

from ml_backend.domain import Floats


def uncertainty(probabilities: Floats, multiple: bool) -> Floats:
    """(n,) float32 from (n, c). With a single label to choose from there is nothing to be unsure of: 0."""
    unsure: Floats
    if multiple:
        unsure = 1.0 - np.abs(2.0 * probabilities - 1.0).min(axis=1)
    elif probabilities.shape[1] < 2:
        unsure = np.zeros(len(probabilities), dtype=np.float32)
    else:
        best = np.partition(probabilities, -2, axis=1)[:, -2:]
        unsure = 1.0 - (best[:, 1] - best[:, 0])
    return np.clip(unsure.astype(np.float32, copy=False), 0.0, 1.0)
