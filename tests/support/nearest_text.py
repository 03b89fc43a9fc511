"""A learner of texts for tests: it drafts the text that was accepted for the nearest source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ml_backend.core.arrays import (
    DistillationData,
    Fit,
    Floats,
    Mask,
    Rows,
    Tensors,
    TrainingSet,
    are_missing,
    missing_rows,
    object_rows,
)
from ml_backend.core.draft_checks import is_copy
from ml_backend.core.texts import Texts
from ml_backend.kinds.object_packing import pack, unpack


class NearestText:
    """The confidence is the similarity, and the doubt is the rest."""

    kinds = ("text",)
    reads_texts: Literal[True] = True

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        assert train.texts is not None
        earlier = train.earlier_to_validate
        sources = train.texts(np.arange(len(train.targets)))
        used = train.weights > 0
        return Fit(
            tensors={"vectors": np.asarray(train.vectors)[used], "accepted": pack(train.targets[used])},
            held_out=_leave_one_out(train.vectors, train.targets, used, sources),
            held_out_earlier=None
            if earlier is None or are_missing(earlier).all()
            else _leave_one_out(train.vectors, earlier, ~are_missing(earlier), sources),
        )

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        assert texts is not None and tensors.keys() == {"vectors", "accepted"}
        similarities = np.asarray(vectors, np.float32) @ np.asarray(tensors["vectors"], np.float32).T
        return _drafts(similarities, unpack(tensors["accepted"]), texts(np.arange(len(vectors))))


def _leave_one_out(vectors: Floats, targets: Rows, is_used: Mask, sources: Sequence[str]) -> Rows:
    vectors = np.asarray(vectors, np.float32)
    similarities = np.where(is_used, vectors @ vectors.T, -2.0)
    np.fill_diagonal(similarities, -2.0)
    return _drafts(similarities, targets, sources)


def _drafts(similarities: Floats, targets: Rows, sources: Sequence[str]) -> Rows:

    if not len(targets):
        return missing_rows(np.empty(0, object), len(similarities))
    nearest = similarities.argmax(axis=1).tolist()
    rows = []
    for row, column in enumerate(nearest):
        text, confidence = targets[column][0], float(np.clip(similarities[row, column], 0, 1))
        rows.append((text, confidence, 1 - confidence, is_copy(text, sources[row])))
    return object_rows(rows)
