"""A learner of comparisons of two texts, whose prediction changes sides with the texts.

The vector of a task has two halves, one for each text (see `pool.pair_encoder`). A learner of a comparison is fitted on
the differences x of the halves. A linear learner is then the model of Bradley and Terry ("Rank Analysis of Incomplete
Block Designs", Biometrika 39, 1952), in which the worth of a text is linear in its vector.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Mask, PseudoLabels, Tensors, TrainingSet
from ml_backend.core.ports import Learner
from ml_backend.core.schema import PAIR_SIDES

ROWS_PER_CHUNK = 8192  # rows whose differences are in memory at the same time
MAX_DISTILLED_POOL_ROWS = 10_000
"""Most rows of the pool that a comparison is distilled on: of a larger pool, a random sample."""


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

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Distils the differences of the teacher's tasks and of the pool. A comparison has no label phrases."""
        pool = data.pool
        if len(pool) > MAX_DISTILLED_POOL_ROWS:  # rows are drawn before any is read, because the pool may be a view
            rows = np.random.default_rng(seed).choice(len(pool), MAX_DISTILLED_POOL_ROWS, replace=False)
            pool = pool[np.sort(rows)]
        differences = DistillationData(
            labels=_with_differences(data.labels),
            label_phrases=_with_differences(data.label_phrases),
            pool=_differences(pool),
            control=data.control,
        )
        return self._learner.distil(differences, seed)

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, 2) probabilities of the sides, (f(x)[left] + f(-x)[right]) / 2 and (f(x)[right] + f(-x)[left]) / 2, where
        f is the fitted learner. They are exactly antisymmetric: swapped texts have the difference -x without rounding,
        and the order of two summands does not matter."""
        out = np.empty((len(vectors), len(PAIR_SIDES)), np.float32)
        for start in range(0, len(vectors), ROWS_PER_CHUNK):
            x = _differences(vectors[start : start + ROWS_PER_CHUNK])
            straight, swapped = self._learner.predict(tensors, x), self._learner.predict(tensors, -x)
            out[start : start + ROWS_PER_CHUNK] = (straight + swapped[:, ::-1]) / 2
        return out


def is_undecided(probabilities: Floats) -> Mask:
    """(n,) bool: comparisons in which both sides are equally probable, as those of equal texts are."""
    return np.asarray(probabilities[:, 0] == probabilities[:, 1])


def have_different_sides(vectors: Floats) -> Mask:
    """(n,) whether the two texts of each comparison have different vectors."""
    chunks = (vectors[start : start + ROWS_PER_CHUNK] for start in range(0, len(vectors), ROWS_PER_CHUNK))
    return np.concatenate([np.zeros(0, np.bool_), *(_differences(chunk).any(axis=1) for chunk in chunks)])


def _differences(vectors: Floats) -> Floats:
    """(n, d) the left halves of vectors (n, 2 d) minus the right halves."""
    d, whole = vectors.shape[1] // 2, np.asarray(vectors, np.float32)
    return np.asarray(whole[:, :d] - whole[:, d:])


def _with_differences(pseudo_labels: PseudoLabels) -> PseudoLabels:
    return replace(pseudo_labels, vectors=_differences(pseudo_labels.vectors))
