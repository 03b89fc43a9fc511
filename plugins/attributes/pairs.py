"""Learns from accepted texts when the attribute fails: it fails in the source, and holds in what annotators wrote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.arrays import AttributeFit, Floats, Tensors
from ml_backend.core.exceptions import ApprenticeError
from plugins.attributes import ngrams


class Pairs:
    """The attribute model of the setting `pairs`."""

    def __init__(self, argument: str = "") -> None:
        self._argument = argument

    def check(self) -> None:
        if self._argument:
            raise ApprenticeError("`pairs` has no argument: write it alone")

    def fit(self, sources: Sequence[str], accepted: Sequence[str]) -> AttributeFit:
        n = len(sources)
        fails = np.arange(2 * n) < n
        tensors, held_out = ngrams.fit([*sources, *accepted], fails, np.tile(np.arange(n), 2))
        return AttributeFit(tensors, held_out[:n], held_out[n:])

    def failure_probabilities(self, tensors: Tensors, texts: Sequence[str]) -> Floats:
        return ngrams.failure_probabilities(tensors, texts)
