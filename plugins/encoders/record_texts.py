"""The columns of the texts in a record: a block for each text and, for two texts, their similarity.

A block is the text's vector minus the pool's mean vector. Annotators are often asked whether two texts are alike, which
no linear head over the blocks can learn: the cosine of the texts has a column of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder
from plugins.encoders.attributions import Column
from plugins.encoders.feature_types import Doubles

MAX_TEXT_FIELDS = 2  # that are encoded
MAX_PROFILED_TEXTS, MIN_TEXTS, MIN_TEXT_VARIANCE = 200, 5, 0.05
"""Maximum number of texts of a field, and of pairs of texts, that means and variances are estimated from; minimum
number of different ones; and the lowest variance, for texts that are very similar."""
MIN_SIMILARITY_DEVIATION = 0.01  # below it, the cosines differ by rounding
Profile = Mapping[str, Any]
"""Entries of a profile: `blocks` by field, each with `mean`, `variance` and `scale`; and `similarity` with `mean` and
`deviation`, None or missing if there is no such column."""


def profile_texts(
    records: Sequence[Mapping[str, Any]], fields: Sequence[str], text_encoder: Encoder, total_variance: float
) -> Profile:
    """Returns the profile of the texts of at most MAX_TEXT_FIELDS fields. `total_variance`: that of all other fields
    together, which each block gets."""
    blocks = {}
    for name in fields:
        texts = {str(record[name]) for record in records if record.get(name)}
        if block := _block(text_encoder, texts, total_variance):
            blocks[name] = block
    if len(blocks) < 2:
        return {"blocks": blocks}
    first, second = blocks
    pairs = {
        (str(record[first]), str(record[second])) for record in records if record.get(first) and record.get(second)
    }
    return {"blocks": blocks, "similarity": _similarity(text_encoder, pairs)}


def mean_square_length(profile: Profile) -> float:
    """Returns the mean of the square of the length of all columns of texts together."""
    of_blocks = sum(block["scale"] ** 2 * block["variance"] for block in profile["blocks"].values())
    return float(of_blocks + (1.0 if profile.get("similarity") else 0.0))


def _block(text_encoder: Encoder, texts: Collection[str], total_variance: float) -> dict[str, Any] | None:
    """Returns the block of a text field; None if there are too few texts to estimate it."""
    if len(texts) < MIN_TEXTS:
        return None
    vectors = text_encoder.encode(_sample(texts))
    mean = vectors.mean(axis=0)
    variance = max(float(np.square(vectors - mean).sum(axis=1).mean()), MIN_TEXT_VARIANCE)
    return {
        "mean": [round(float(value), 5) for value in mean],
        "variance": variance,
        "scale": (total_variance / variance) ** 0.5,
    }


def _similarity(text_encoder: Encoder, pairs: Collection[tuple[str, str]]) -> dict[str, float] | None:
    """Returns the similarity of two fields; None if there are too few records with both texts to estimate it, or if
    all pairs are equally similar."""
    if len(pairs) < MIN_TEXTS:
        return None
    first, second = (text_encoder.encode(texts) for texts in zip(*_sample(pairs), strict=True))
    cosines = (first * second).sum(axis=1)
    deviation = float(cosines.std())
    return {"mean": float(cosines.mean()), "deviation": deviation} if deviation >= MIN_SIMILARITY_DEVIATION else None


def _sample(values: Collection[Any]) -> list[Any]:
    """Returns at most MAX_PROFILED_TEXTS of different values, the same ones for the same values."""
    order = np.random.default_rng(0).permutation(len(values))[:MAX_PROFILED_TEXTS]
    ordered = sorted(values)
    return [ordered[i] for i in order]


@dataclass(frozen=True, slots=True)
class Block:
    """The columns of a text: its vector minus the pool's mean (d,), times `scale`."""

    mean: Floats
    scale: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """The column of two texts: the cosine of their vectors, standardised over the pool."""

    mean: float
    deviation: float


class RecordTexts:
    """Encodes the texts in records, by a profile (see `profile_texts`)."""

    def __init__(self, profile: Profile, text_encoder: Encoder | None) -> None:
        self._blocks = {
            name: Block(np.array(block["mean"], np.float32), block["scale"])
            for name, block in profile["blocks"].items()
        }
        similarity = profile.get("similarity")
        self._similarity = Similarity(**similarity) if similarity else None
        self._text_encoder = text_encoder

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._blocks)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Returns the columns; that of the similarity belongs to the second text."""
        blocks = [Column(name, is_text=True) for name, block in self._blocks.items() for _ in block.mean]
        return (*blocks, *(blocks[-1:] if self._similarity else ()))

    def encode(self, records: Sequence[Mapping[str, Any]]) -> Doubles:
        """Returns the columns (n, d). Those of a text that a record lacks are 0."""
        vectors = self._vectors(records, lambda encoder: encoder.encode)
        parts = self._centred(vectors)
        if self._similarity is not None:
            first, second = vectors.values()
            has_both = first.any(axis=1) & second.any(axis=1)
            cosines = (first * second).sum(axis=1)
            parts.append((has_both * (cosines - self._similarity.mean) / self._similarity.deviation)[:, None])
        return _side_by_side(len(records), parts)

    def encode_phrases(self, phrases: Sequence[str]) -> Doubles:
        """Returns the columns (n, d) of records that have these phrases as all of their texts, with the pool's average
        similarity: that a phrase equals itself says nothing about the pool's texts."""
        records = [dict.fromkeys(self.names, phrase) for phrase in phrases]
        vectors = self._vectors(records, lambda encoder: encoder.encode)
        similarity = [np.zeros((len(phrases), 1))] if self._similarity else []
        return _side_by_side(len(phrases), [*self._centred(vectors), *similarity])

    def sketch(self, records: Sequence[Mapping[str, Any]]) -> Doubles:
        """Returns sketches of the texts (n, d'), whose mean and similarity in the pool are not known."""
        sketches = self._vectors(records, lambda encoder: encoder.sketch)
        blocks = [np.asarray(block.scale * sketches[name], np.float64) for name, block in self._blocks.items()]
        return _side_by_side(len(records), blocks)

    def _vectors(
        self, records: Sequence[Mapping[str, Any]], method: Callable[[Encoder], Callable[[Sequence[str]], Floats]]
    ) -> dict[str, Floats]:
        """Returns the vectors (n, d) of each field's texts, 0 for a record without the text. `method` returns the
        method of the text encoder that encodes them."""
        vectors = {}
        for name in self._blocks:
            if self._text_encoder is None:
                raise ApprenticeError(f"The field {name!r} of the records is a text, but no text encoder was passed")
            texts = [str(record.get(name) or "") for record in records]
            is_present = np.array([[bool(text)] for text in texts])
            vectors[name] = is_present * method(self._text_encoder)(texts)
        return vectors

    def _centred(self, vectors: Mapping[str, Floats]) -> list[Doubles]:
        """Returns the blocks of these vectors."""
        blocks: list[Doubles] = []
        for name, block in self._blocks.items():
            is_present = vectors[name].any(axis=1, keepdims=True)
            blocks.append(np.asarray(block.scale * is_present * (vectors[name] - block.mean), np.float64))
        return blocks


def _side_by_side(n: int, parts: Sequence[Doubles]) -> Doubles:
    return np.hstack([np.empty((n, 0)), *parts])
