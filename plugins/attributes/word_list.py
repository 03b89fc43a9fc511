"""Judges texts by a list of words: the attribute fails in a text with one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import AttributeFit, Floats, Tensors
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.text_hashes import text_hashes
from ml_backend.core.words import words_of

HASHES, WEIGHTS = "words.hashes", "words.weights"
"""Names of tensors: the hashes of the words, ascending, and their weights."""
EXPECTED = "it needs one word a line, which a tab and a weight above 0 and up to 1 may follow"


class WordList:
    """The attribute model of the setting `words:<file>`. Whole words are compared, in lower case. Words fail
    independently of each other: the probability is 1 minus the product of 1 - weight over the words of the list that
    are in the text."""

    def __init__(self, file: str = "") -> None:
        self._file = file

    def check(self) -> None:
        self._weights()

    def fit(self, sources: Sequence[str], accepted: Sequence[str]) -> AttributeFit:
        weights = self._weights()
        hashes, rows = np.unique(text_hashes(weights), return_index=True)
        tensors: Tensors = {HASHES: hashes, WEIGHTS: np.array([*weights.values()])[rows]}
        return AttributeFit(
            tensors, self.failure_probabilities(tensors, sources), self.failure_probabilities(tensors, accepted)
        )

    def failure_probabilities(self, tensors: Tensors, texts: Sequence[str]) -> Floats:
        hashes, weights = np.asarray(tensors[HASHES], np.uint64), np.asarray(tensors[WEIGHTS], np.float64)
        return np.array([_failure(text, hashes, weights) for text in texts], np.float32)

    def _weights(self) -> dict[str, float]:
        if not self._file:
            raise ApprenticeError("`words` needs a file: words:<file>")
        try:
            return _read(self._file, Path(self._file).stat().st_mtime_ns)
        except (OSError, UnicodeDecodeError) as error:
            raise ApprenticeError(f"{self._file} cannot be read ({error}): {EXPECTED}") from None


def _failure(text: str, hashes: npt.NDArray[np.uint64], weights: npt.NDArray[np.float64]) -> float:
    words = text_hashes({*words_of(text.lower())})
    return float(1 - np.prod(1 - weights[np.isin(hashes, words)]))


@lru_cache(maxsize=8)
def _read(file: str, modified: int) -> dict[str, float]:
    """The weights of the words of a file. `modified`: when the file was modified"""
    weights = {}
    for number, line in enumerate(Path(file).read_text(encoding="utf-8-sig").splitlines(), start=1):
        word, _, weight = line.partition("\t")
        if not line.strip():
            continue
        if len(words_of(word)) != 1 or not 0 < (value := _number(weight)) <= 1:
            raise ApprenticeError(f"{file}: line {number} cannot be read: {EXPECTED}")
        weights[word.strip().lower()] = value
    if not weights:
        raise ApprenticeError(f"{file} has no words: {EXPECTED}")
    return weights


def _number(weight: str) -> float:
    try:
        return float(weight or 1)
    except ValueError:
        return math.nan
