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
    object_rows,
)
from ml_backend.core.draft_checks import is_copy
from ml_backend.core.texts import Texts
from ml_backend.core.word_distance import nearest_closeness
from ml_backend.kinds.object_packing import pack, unpack


class NearestText:
    """The confidence is the mean closeness of held-out drafts, and the doubt the distance to the nearest source."""

    kinds = ("text",)
    reads_texts: Literal[True] = True

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        assert train.texts is not None
        earlier = train.earlier_to_validate
        sources = train.texts(np.arange(len(train.targets)))
        used = train.weights > 0
        held_out, confidence = _leave_one_out(train.vectors, train.targets, used, sources)
        return Fit(
            tensors={
                "vectors": np.asarray(train.vectors)[used],
                "accepted": pack(train.targets[used]),
                "confidence": np.array([confidence]),
            },
            held_out=held_out,
            held_out_earlier=None
            if earlier is None or are_missing(earlier).all()
            else _leave_one_out(train.vectors, earlier, ~are_missing(earlier), sources)[0],
        )

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        return {}

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        assert texts is not None and tensors.keys() == {"vectors", "accepted", "confidence"}
        similarities = np.asarray(vectors, np.float32) @ np.asarray(tensors["vectors"], np.float32).T
        accepted, sources = unpack(tensors["accepted"]), texts(np.arange(len(vectors)))
        return _drafts(similarities, accepted, sources, float(tensors["confidence"][0]))


def _leave_one_out(vectors: Floats, targets: Rows, is_used: Mask, sources: Sequence[str]) -> tuple[Rows, float]:
    """(n,) the draft for each row from the other rows that are used, and the mean closeness of these drafts."""
    vectors = np.asarray(vectors, np.float32)
    similarities = np.where(is_used, vectors @ vectors.T, -2.0)
    np.fill_diagonal(similarities, -2.0)
    used = np.flatnonzero(is_used)
    drafts = _drafts(similarities, targets, sources, 1.0)
    confidence = float(nearest_closeness([drafts[row][0] for row in used], targets[used].tolist()).mean())
    return _drafts(similarities, targets, sources, confidence), confidence


def _drafts(similarities: Floats, targets: Rows, sources: Sequence[str], confidence: float) -> Rows:
    rows = []
    for row, column in enumerate(similarities.argmax(axis=1).tolist()):
        text, doubt = targets[column][0], 1 - float(np.clip(similarities[row, column], 0, 1))
        rows.append((text, confidence, doubt, is_copy(text, sources[row])))
    return object_rows(rows)
