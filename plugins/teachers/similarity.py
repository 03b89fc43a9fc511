"""The teacher that needs no key: a text is drafted as the label whose name is nearest to it in the vector space.

Zero-shot classification by label names: Chang et al., "Importance of Semantic Representation: Dataless Classification"
(AAAI 2008); several templates for a name, as in Radford et al., CLIP (ICML 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import Floats, TaskSchema, tidy

TEMPLATES = ("{}", "This text is about {}.")
SHARPNESS = 20.0
"""Cosines of sentence vectors differ by tenths; this factor makes one tenth count as e squared."""
LIKELY = 0.3
"""With several labels, the cosine at which a label is as likely as not."""
CHUNK = 8192
SCHEMAS = 64
"""Label sets whose vectors are kept: those of as many projects, or of as many changes of one."""


class Similarity:
    """`encode` is the encoder whose vectors `draft` will be given: (texts) -> (n, d) float32 of unit length."""

    def __init__(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        self._encode = encode
        self._names = lru_cache(maxsize=SCHEMAS)(self._encoded)

    def draft(self, texts: Sequence[str], vectors: Floats, schema: TaskSchema) -> Floats:
        """(n, c) probabilities from `vectors` (n, d) alone. Raises ApprenticeError if d is not the encoder's."""
        names = self._names(schema.labels, schema.hints)
        if vectors.shape[1] != names.shape[1]:
            raise ApprenticeError(
                f"The similarity teacher got vectors of {vectors.shape[1]} dimensions, but its encoder gives "
                f"{names.shape[1]}. Give it the vectors of its own encoder."
            )
        out: Floats = np.empty((len(vectors), len(names)), dtype=np.float32)
        for start in range(0, len(vectors), CHUNK):
            cosines = np.asarray(vectors[start : start + CHUNK], dtype=np.float32) @ names.T
            if schema.multiple:
                out[start : start + CHUNK] = 1.0 / (1.0 + np.exp(-SHARPNESS * (cosines - LIKELY)))
            else:
                grown = np.exp(SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)))
                out[start : start + CHUNK] = grown / grown.sum(axis=1, keepdims=True)
        return out

    def _encoded(self, labels: tuple[str, ...], hints: tuple[str, ...]) -> Floats:
        """(c, d) of unit length."""
        pairs = zip(map(tidy, labels), map(str.strip, hints or ("",) * len(labels)), strict=True)
        named = [f"{name}: {hint}" if hint else name for name, hint in pairs]
        phrases = [template.format(name) for template in TEMPLATES for name in named]
        vectors = self._encode(phrases).reshape(len(TEMPLATES), len(named), -1).mean(axis=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
