"""The words of many texts, one text after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Ints


@dataclass(frozen=True, slots=True)
class TextLengths:
    """Divides w words into n texts. lengths: (n,) words of each text"""

    lengths: Ints

    @property
    def first_words(self) -> Ints:
        """(n,) the first word of each text."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def texts(self) -> Ints:
        """(w,) the text of each word."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)
