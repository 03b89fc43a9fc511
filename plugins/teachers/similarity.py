"""The teacher that needs no key: drafts for a text the label whose name is nearest to it in the vector space.

Zero-shot classification by label names: Chang et al., "Importance of Semantic Representation: Dataless Classification"
(AAAI 2008); several templates for a name, as in Radford et al., CLIP (ICML 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, takes_several_labels
from ml_backend.core.types import label_words

TEMPLATES = ("{}", "This text is about {}.")
SHARPNESS = 20.0
"""Factor of the cosines before the softmax: cosines of sentence vectors differ by tenths, and one tenth counts as e
squared."""
EVEN_COSINE = 0.3
"""With several labels, the cosine at which a label has probability one half."""
CHUNK_ROWS = 8192
MAX_CACHED_LABEL_SETS = 64
"""Label sets whose vectors are cached: those of as many projects, or of as many changes of one project."""


class Similarity:
    """`encode` is the method of the encoder whose vectors `draft` gets: (texts) -> (n, d) float32 of unit length."""

    def __init__(self, encode: Callable[[Sequence[str]], Floats], chunk_rows: int = CHUNK_ROWS) -> None:
        self._encode, self._chunk_rows = encode, chunk_rows
        self._label_vectors = lru_cache(maxsize=MAX_CACHED_LABEL_SETS)(self._encoded)

    def draft(self, texts: Sequence[str], vectors: Floats, control: ControlSchema) -> Floats:
        """Returns probabilities (n, c) from `vectors` (n, d) alone. Raises ApprenticeError if d is not the
        encoder's."""
        label_vectors = self._label_vectors(control.labels, control.hints)
        if vectors.shape[1] != label_vectors.shape[1]:
            raise ApprenticeError(
                f"The similarity teacher got vectors of {vectors.shape[1]} dimensions, but its encoder gives "
                f"{label_vectors.shape[1]}. Give it the vectors of its own encoder."
            )
        out: Floats = np.empty((len(vectors), len(label_vectors)), dtype=np.float32)
        for start in range(0, len(vectors), self._chunk_rows):
            chunk = slice(start, start + self._chunk_rows)
            cosines = np.asarray(vectors[chunk], dtype=np.float32) @ label_vectors.T
            if takes_several_labels(control):
                out[chunk] = 1.0 / (1.0 + np.exp(-SHARPNESS * (cosines - EVEN_COSINE)))
            else:
                exponentials = np.exp(SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)))
                out[chunk] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return out

    def _encoded(self, labels: tuple[str, ...], hints: tuple[str, ...]) -> Floats:
        """Returns the vectors (c, d) of the labels, of unit length."""
        pairs = zip(map(label_words, labels), map(str.strip, hints or ("",) * len(labels)), strict=True)
        descriptions = [f"{name}: {hint}" if hint else name for name, hint in pairs]
        phrases = [template.format(name) for template in TEMPLATES for name in descriptions]
        vectors = self._encode(phrases).reshape(len(TEMPLATES), len(descriptions), -1).mean(axis=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
