"""Comparisons of two texts: their vectors, and a learner whose prediction changes sides with the texts.

A task is a record with its two texts under the names of the sides, and perhaps other fields, such as a prompt. With e
the vector of a text, the vector of a task is [e(left), e(right)] / sqrt(2), which has unit length. A learner of a
comparison is fitted on the differences x = (e(left) - e(right)) / sqrt(2). A linear learner is then the model of
Bradley and Terry ("Rank Analysis of Incomplete Block Designs", Biometrika 39, 1952), in which the worth of a text is
linear in its vector. Other controls of the project are learnt from the whole vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import DistillationData, Fit, Floats, Mask, PseudoLabels, Tensors, TrainingSet
from ml_backend.core.ports import Encoder, Learner
from ml_backend.core.types import read_record

SIDES = ("left", "right")
"""The fields of a task with the compared texts, and the labels of a comparison."""
SCALE = np.float32(0.5**0.5)
ROWS_PER_CHUNK = 8192  # rows whose differences are in memory at the same time
MAX_DISTILLED_POOL_ROWS = 10_000
"""Most rows of the pool that a comparison is distilled on: of a larger pool, a random sample."""


@dataclass(frozen=True)
class PairEncoder:
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

    @property
    def quick(self) -> bool:
        return bool(getattr(self.text_encoder, "quick", False))  # encoders of other packages may lack the attribute

    def verify(self) -> str:
        return self.text_encoder.verify()

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
    if not record.keys() & {*SIDES}:
        return text, text
    context = [f"{name}: {value}" for name, value in record.items() if name not in SIDES and value not in ("", None)]
    left, right = ("\n\n".join([str(record.get(side) or ""), *context]) for side in SIDES)
    return left, right


def pair_record(record: Mapping[str, Any], sides: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The record of a task with its two texts under the names of the sides.

    record  all fields that annotators see
    sides   the fields of the left and of the right text
    """
    texts = {
        side: "\n".join(str(record[name]) for name in names if record.get(name) not in ("", None))
        for side, names in zip(SIDES, sides, strict=True)
    }
    in_sides = {name for names in sides for name in names}
    context = {name: value for name, value in record.items() if name not in in_sides}
    return {f"{name} (context)" if name in SIDES else name: value for name, value in context.items()} | texts


def learner_of(plugin: str, *, antisymmetric: bool) -> Learner:
    """The learner of this name for a control, see `ControlSchema.antisymmetric`."""
    learner = registry.learner(plugin)
    return PairLearner(learner) if antisymmetric else learner


class PairLearner:
    """Learns a comparison with any learner: p(left) of two texts is exactly p(right) of the same texts swapped."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Fits on the differences.

        The rows have no mirrored copies, because a row and its copy could be in different folds of the
        cross-validation. Therefore the fit may prefer a side, which `predict` undoes. The held-out probabilities are
        not averaged as in `predict`: the models of the folds, which would have to predict the swapped sides, are not
        part of a `Fit`. So the measured accuracy is rather lower than that of the drafts.
        """
        return self._learner.fit(replace(train, vectors=_differences(train.vectors)), seed)

    def distil(self, data: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """Distils the differences of the teacher's tasks and of the pool. A comparison has no label phrases."""
        pool = data.pool
        if len(pool) > MAX_DISTILLED_POOL_ROWS:  # rows are drawn before any is read, because the pool may be a view
            rows = np.random.default_rng(seed).choice(len(pool), MAX_DISTILLED_POOL_ROWS, replace=False)
            pool = pool[np.sort(rows)]
        differences = DistillationData(
            labels=_with_differences(data.labels),
            label_phrases=_with_differences(data.label_phrases),
            pool=_differences(pool),
        )
        return self._learner.distil(differences, multiple, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, 2) probabilities of the sides, (f(x)[left] + f(-x)[right]) / 2 and (f(x)[right] + f(-x)[left]) / 2, where
        f is the fitted learner. They are exactly antisymmetric: swapped texts have the difference -x without rounding,
        and the order of two summands does not matter."""
        out = np.empty((len(vectors), len(SIDES)), np.float32)
        for start in range(0, len(vectors), ROWS_PER_CHUNK):
            x = _differences(vectors[start : start + ROWS_PER_CHUNK])
            straight, swapped = self._learner.predict(tensors, x), self._learner.predict(tensors, -x)
            out[start : start + ROWS_PER_CHUNK] = (straight + swapped[:, ::-1]) / 2
        return out


def is_undecided(probabilities: Floats) -> Mask:
    """(n,) bool: comparisons in which both sides are equally probable, as those of equal texts are."""
    return np.asarray(probabilities[:, 0] == probabilities[:, 1])


def _differences(vectors: Floats) -> Floats:
    """(n, d) the left halves of vectors (n, 2 d) minus the right halves."""
    d, whole = vectors.shape[1] // 2, np.asarray(vectors, np.float32)
    return np.asarray(whole[:, :d] - whole[:, d:])


def _with_differences(pseudo_labels: PseudoLabels) -> PseudoLabels:
    return replace(pseudo_labels, vectors=_differences(pseudo_labels.vectors))
