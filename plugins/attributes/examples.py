"""Learns from a CSV file of texts when the attribute fails."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ml_backend.core.arrays import AttributeFit, Floats, Tensors
from ml_backend.core.exceptions import ApprenticeError
from plugins.attributes import ngrams

FAILS = {"1": True, "fails": True, "0": False, "holds": False}
"""What the column `label` may say."""
MIN_EXAMPLES = 10
"""Number of texts in which the attribute fails, and of those in which it holds, that a fit needs."""
EXPECTED = "it needs the columns text and label, with the labels 1 or fails, and 0 or holds"


class Examples:
    """The attribute model of the setting `examples:<CSV>`."""

    def __init__(self, file: str = "") -> None:
        self._file = file

    def check(self) -> None:
        self._examples()

    def fit(self, sources: Sequence[str], accepted: Sequence[str]) -> AttributeFit:
        texts, fails = self._examples()
        _, groups = np.unique(texts, return_inverse=True)
        tensors, _ = ngrams.fit(texts, np.array(fails), groups)
        return AttributeFit(
            tensors, ngrams.failure_probabilities(tensors, sources), ngrams.failure_probabilities(tensors, accepted)
        )

    def failure_probabilities(self, tensors: Tensors, texts: Sequence[str]) -> Floats:
        return ngrams.failure_probabilities(tensors, texts)

    def _examples(self) -> tuple[list[str], list[bool]]:
        if not self._file:
            raise ApprenticeError("`examples` needs a file: examples:<CSV>")
        try:
            return _read(self._file, Path(self._file).stat().st_mtime_ns)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ApprenticeError(f"{self._file} cannot be read ({error}): {EXPECTED}") from None


@lru_cache(maxsize=8)
def _read(file: str, modified: int) -> tuple[list[str], list[bool]]:
    """The texts of a file, and whether the attribute fails in each. `modified`: when the file was modified"""
    with Path(file).open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    labels = [FAILS.get(str(row.get("label") or "").strip().lower()) for row in rows]
    for line, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
        if row.get("text") is None or label is None:
            raise ApprenticeError(f"{file}: row {line} cannot be read: {EXPECTED}")
    fails = [bool(label) for label in labels]
    if min(sum(fails), len(fails) - sum(fails)) < MIN_EXAMPLES:
        raise ApprenticeError(
            f"{file} has {sum(fails)} texts in which the attribute fails and {len(fails) - sum(fails)} in which it "
            f"holds: give at least {MIN_EXAMPLES} of each"
        )
    return [row["text"] for row in rows], fails
