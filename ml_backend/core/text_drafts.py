"""The values that writers exchange with the learner `writers`: accepted texts, and drafts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.texts import Texts

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AcceptedTexts:
    """The n texts that a writer is fitted on.

    sources  the texts that were rewritten, answered or summarised
    vectors  (n, d) float32, of the sources
    texts    (n,) for each source the text that was accepted
    weights  (n,) float32 > 0
    """

    sources: Texts
    vectors: Floats
    texts: Sequence[str]
    weights: Floats

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class TextDrafts:
    """The drafts for n sources.

    texts        (n,) the drafts; "" where a writer has none
    confidences  (n,) in [0, 1]: the closeness in words to the text that the annotator will accept, as the writer
                 estimates it; only the order has to be right, because the learner `writers` calibrates it
    doubts       (n,) in [0, 1]: 1 where the annotator's answer would teach the writer most
    """

    texts: Sequence[str]
    confidences: Doubles
    doubts: Doubles
