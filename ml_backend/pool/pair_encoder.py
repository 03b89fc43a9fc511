"""Encodes comparisons of two texts.

A task is a record with its two texts under the names of the sides, and perhaps other fields, such as a prompt. With e
the vector of a text, the vector of a task is [e(left), e(right)] / sqrt(2), which has unit length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.ports import Encoder
from ml_backend.core.schema import PAIR_SIDES
from ml_backend.core.types import read_record
from ml_backend.pool.over_text_encoder import OverTextEncoder

SCALE = np.float32(0.5**0.5)


@dataclass(frozen=True)
class PairEncoder(OverTextEncoder):
    """Encodes comparisons with an encoder of texts.

    The other fields of a task follow either text, as a reward model reads the prompt with each answer (Stiennon et al.,
    "Learning to summarize from human feedback", NeurIPS 2020). A text that is no comparison, such as the name of a
    label, stands on both sides.
    """

    text_encoder: Encoder

    @property
    def name(self) -> str:
        return f"pairs-{self.text_encoder.name}"

    @property
    def dim(self) -> int:
        return 2 * self.text_encoder.dim

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 2 d) float32 vectors of unit length. Those of the same tasks with swapped sides have the same numbers in
        swapped halves."""
        return _joined_halves(self.text_encoder.encode, texts)

    def sketch(self, texts: Sequence[str]) -> Floats:
        """(n, 2 d') float32 vectors of unit length."""
        return _joined_halves(self.text_encoder.sketch, texts)


def _joined_halves(encode: Callable[[Sequence[str]], Floats], texts: Sequence[str]) -> Floats:
    pairs = [_side_texts(text) for text in texts]
    # a vector depends a little on its batch: the batches are the same on whichever side a text is
    distinct_texts = sorted({text for pair in pairs for text in pair})
    row_of = {text: row for row, text in enumerate(distinct_texts)}
    rows = np.array([[row_of[left], row_of[right]] for left, right in pairs], np.int64).reshape(-1, 2)
    vectors = np.asarray(encode(distinct_texts), np.float32) * SCALE
    return vectors[rows].reshape(len(texts), 2 * vectors.shape[1])


def _side_texts(text: str) -> tuple[str, str]:
    """The texts that are encoded for the left and for the right side of a task."""
    record = read_record(text)
    if not record.keys() & {*PAIR_SIDES}:
        return text, text
    context = [
        f"{name}: {value}" for name, value in record.items() if name not in PAIR_SIDES and value not in ("", None)
    ]
    left, right = ("\n\n".join([str(record.get(side) or ""), *context]) for side in PAIR_SIDES)
    return left, right
