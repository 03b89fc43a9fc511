"""Gradient-boosted trees, for when answers are many: they bend and combine fields, which no linear head does.

scikit-learn grows them (HistGradientBoostingClassifier, one for each label), small ones, since answers are hundreds
rather than millions; here they are arrays, so that the web process needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.types import DistillationData, Fit, Floats, Ints, Tensors, TrainingSet
from plugins.learners.calibration import Doubles, calibration, probabilities
from plugins.learners.cross_validation import is_nearly_the_same, split

TREES, LEAVES, FOLDS = 100, 8, 3
NODES = 2 * LEAVES - 1
GROWN: dict[str, Any] = {
    "max_iter": TREES, "learning_rate": 0.06, "max_leaf_nodes": LEAVES, "min_samples_leaf": 10,
    "l2_regularization": 1.0, "early_stopping": False, "max_bins": 63, "random_state": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of all heads: base (h,), and for each of h heads and T trees its nodes: feature -1 in a leaf."""

    base: Doubles
    feature: Ints
    threshold: Doubles
    left: Ints
    right: Ints
    value: Doubles

    def logits(self, vectors: Floats) -> Floats:
        """(n, h)."""
        columns = np.ascontiguousarray(np.asarray(vectors, np.float32).T)
        out = np.tile(self.base, (vectors.shape[0], 1))
        for head in range(len(self.base)):
            for tree in range(self.feature.shape[1]):
                self._grow(columns, out[:, head], head, tree)
        return out.astype(np.float32)

    def _grow(self, columns: Floats, out: Doubles, head: int, tree: int) -> None:
        """Adds one tree's values to `out` (n,)."""
        feature, threshold, left, right, value = (
            each[head, tree] for each in (self.feature, self.threshold, self.left, self.right, self.value)
        )
        waiting: list[tuple[int, Ints]] = [(0, np.arange(len(out)))]
        while waiting:
            node, rows = waiting.pop()
            if feature[node] < 0:
                out[rows] += value[node]
                continue
            low = columns[feature[node]][rows] <= threshold[node]
            waiting += [(int(left[node]), rows[low]), (int(right[node]), rows[~low])]


class Trees:
    """Tensors: those of `Forest`, slope and offset of the calibration, and multiple (1,) bool."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        fold = split(train.targets, train.multiple, seed, FOLDS)
        forest = _forest(train.vectors, train.targets, train.weights, train.multiple)
        slope, offset, held_out = _held_out(train, train.targets, train.weights, fold)
        earlier = None
        if is_nearly_the_same(train):
            earlier = held_out
        elif train.earlier_to_judge is not None:
            known = train.weights * ~np.isnan(train.earlier_to_judge).any(axis=1)
            _, _, earlier = _held_out(train, np.nan_to_num(train.earlier_to_judge), known, fold)
        tensors: Tensors = {name: getattr(forest, name) for name in Forest.__dataclass_fields__}
        tensors |= {"slope": slope, "offset": offset, "multiple": np.array([train.multiple])}
        return Fit(tensors, held_out, earlier)

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """Nothing: without answers, nothing can be grown."""
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities."""
        given: dict[str, Any] = {name: tensors[name] for name in Forest.__dataclass_fields__}
        slope, offset = (np.asarray(tensors[name], np.float32) for name in ("slope", "offset"))
        logits = _wide(Forest(**given).logits(vectors), len(offset))
        return probabilities(logits * slope + offset, bool(tensors["multiple"][0]))


def _held_out(train: TrainingSet, targets: Floats, weights: Floats, fold: Ints) -> tuple[Floats, Floats, Floats]:
    """Slope, offset, and the calibrated cross-validated answers (n, c). A row that had no others is not judged."""
    logits = np.zeros(targets.shape, np.float32)
    trust = weights.copy()
    for f in range(FOLDS):
        mine, others = fold == f, np.where(fold == f, 0, weights)
        if others.any():
            grown = _forest(train.vectors, targets, others, train.multiple).logits(train.vectors[mine])
            logits[mine] = _wide(grown, targets.shape[1])
        else:
            trust[mine] = 0
    slope, offset = calibration(logits, targets, trust, train.multiple)
    return slope, offset, probabilities(logits * slope + offset, train.multiple)


def _forest(vectors: Floats, targets: Floats, weights: Floats, multiple: bool) -> Forest:
    """One head for each label; of two of which one holds, one for the second."""
    two = not multiple and targets.shape[1] == 2
    grown = [_grown(vectors, targets[:, label], weights) for label in ([1] if two else range(targets.shape[1]))]
    base, *rest = (np.array([each[place] for each in grown]) for place in range(6))
    return Forest(base, *rest)


def _grown(vectors: Floats, target: Floats, weights: Floats) -> tuple[Any, ...]:
    """One head; of a label that all rows have, or none, the share that is to be expected of so few."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    shape = TREES, NODES
    feature, left, right = (np.full(shape, fill, np.int64) for fill in (-1, 0, 0))
    threshold, value = np.zeros(shape), np.zeros(shape)
    trust = weights * np.abs(2 * target - 1)
    used = trust > 0
    holds = target[used] > 0.5
    if not used.any():
        return 0.0, feature, threshold, left, right, value
    if holds.all() or not holds.any():
        n = float(trust.sum())
        return (1 if holds.all() else -1) * np.log(n + 1), feature, threshold, left, right, value
    # with weights, values are binned row by row in Python: fifteen times as slow
    weighted = None if np.ptp(trust[used]) == 0 else trust[used]
    made = HistGradientBoostingClassifier(**GROWN).fit(vectors[used], holds, sample_weight=weighted)
    trees: Sequence[Any] = made._predictors
    for place, (tree,) in enumerate(trees):
        nodes = tree.nodes
        some = slice(len(nodes))
        leaf = nodes["is_leaf"].astype(bool)
        feature[place, some] = np.where(leaf, -1, nodes["feature_idx"])
        threshold[place, some] = nodes["num_threshold"]
        left[place, some], right[place, some] = nodes["left"], nodes["right"]
        value[place, some] = np.where(leaf, nodes["value"], 0.0)
    return float(np.ravel(made._baseline_prediction)[0]), feature, threshold, left, right, value


def _wide(logits: Floats, labels: int) -> Floats:
    """(n, labels): of the head for the second of two, that of the first is 0."""
    return logits if logits.shape[1] == labels else np.hstack([np.zeros_like(logits), logits])
