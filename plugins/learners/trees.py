"""Gradient-boosted trees, for many labels: they model curvature and combinations of fields, which a linear head does
not.

scikit-learn grows the trees (HistGradientBoostingClassifier, one for each label), small ones, since labelled rows are
hundreds rather than millions. Here they are stored as arrays, so that the web process needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Ints, Tensors, TrainingSet
from ml_backend.core.schema import takes_several_labels
from plugins.learners.calibration import Doubles, fit_calibration, probabilities
from plugins.learners.cross_validation import earlier_targets_nearly_equal, split

TREES_PER_HEAD, MAX_LEAVES, FOLDS = 100, 8, 3
MAX_NODES = 2 * MAX_LEAVES - 1
BOOSTING_OPTIONS: dict[str, Any] = {
    "max_iter": TREES_PER_HEAD, "learning_rate": 0.06, "max_leaf_nodes": MAX_LEAVES, "min_samples_leaf": 10,
    "l2_regularization": 1.0, "early_stopping": False, "max_bins": 63, "random_state": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of all heads: base (h,), and for each of h heads and T trees the arrays of its nodes (h, T, nodes); a
    leaf has feature -1."""

    base: Doubles
    feature: Ints
    threshold: Doubles
    left: Ints
    right: Ints
    value: Doubles

    def logits(self, vectors: Floats) -> Floats:
        """Returns the logits (n, h)."""
        columns = np.ascontiguousarray(np.asarray(vectors, np.float32).T)
        out = np.tile(self.base, (vectors.shape[0], 1))
        for head in range(len(self.base)):
            for tree in range(self.feature.shape[1]):
                self._add_tree(columns, out[:, head], head, tree)
        return out.astype(np.float32)

    def _add_tree(self, columns: Floats, out: Doubles, head: int, tree: int) -> None:
        """Adds the values of one tree to `out` (n,)."""
        feature, threshold, left, right, value = (
            array[head, tree] for array in (self.feature, self.threshold, self.left, self.right, self.value)
        )
        pending: list[tuple[int, Ints]] = [(0, np.arange(len(out)))]
        while pending:
            node, rows = pending.pop()
            if feature[node] < 0:
                out[rows] += value[node]
                continue
            goes_left = columns[feature[node]][rows] <= threshold[node]
            pending += [(int(left[node]), rows[goes_left]), (int(right[node]), rows[~goes_left])]


class Trees:
    """Tensors: those of `Forest`, slope and offset of the calibration, and multiple (1,) bool."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        multiple = takes_several_labels(train.control)
        fold = split(train.targets, multiple, seed, FOLDS)
        forest = boosted_forest(train.vectors, train.targets, train.weights, multiple)
        slope, offset, held_out = _cross_validated(train, train.targets, train.weights, fold)
        earlier = None
        if earlier_targets_nearly_equal(train):
            earlier = held_out
        elif train.earlier_to_validate is not None:
            weights = train.weights * ~np.isnan(train.earlier_to_validate).any(axis=1)
            _, _, earlier = _cross_validated(train, np.nan_to_num(train.earlier_to_validate), weights, fold)
        tensors: Tensors = {name: getattr(forest, name) for name in Forest.__dataclass_fields__}
        tensors |= {"slope": slope, "offset": offset, "multiple": np.array([multiple])}
        return Fit(tensors, held_out, earlier)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Returns nothing: trees cannot be grown without labelled rows."""
        return {}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Returns calibrated probabilities (n, c)."""
        arrays: dict[str, Any] = {name: tensors[name] for name in Forest.__dataclass_fields__}
        slope, offset = (np.asarray(tensors[name], np.float32) for name in ("slope", "offset"))
        logits = _with_first_label(Forest(**arrays).logits(vectors), len(offset))
        return probabilities(logits * slope + offset, bool(tensors["multiple"][0]))


def _cross_validated(train: TrainingSet, targets: Floats, weights: Floats, fold: Ints) -> tuple[Floats, Floats, Floats]:
    """Returns slope, offset, and the calibrated cross-validated probabilities (n, c). A row without other rows to train
    on has no part in the calibration."""
    logits, multiple = np.zeros(targets.shape, np.float32), takes_several_labels(train.control)
    row_weights = weights.copy()
    for f in range(FOLDS):
        in_fold, other_weights = fold == f, np.where(fold == f, 0, weights)
        if other_weights.any():
            head_logits = boosted_forest(train.vectors, targets, other_weights, multiple).logits(train.vectors[in_fold])
            logits[in_fold] = _with_first_label(head_logits, targets.shape[1])
        else:
            row_weights[in_fold] = 0
    slope, offset = fit_calibration(logits, targets, row_weights, multiple)
    return slope, offset, probabilities(logits * slope + offset, multiple)


def boosted_forest(vectors: Floats, targets: Floats, weights: Floats, multiple: bool) -> Forest:
    """Returns one head for each label; for a choice between two labels, one head for the second."""
    is_pair = not multiple and targets.shape[1] == 2
    heads = [
        _boosted_head(vectors, targets[:, label], weights) for label in ([1] if is_pair else range(targets.shape[1]))
    ]
    base, *arrays = (np.array([head[i] for head in heads]) for i in range(6))
    return Forest(base, *arrays)


def _boosted_head(vectors: Floats, target: Floats, weights: Floats) -> tuple[Any, ...]:
    """Returns base value and node arrays of one head. A label of all rows, or of none, gets a constant base: the log
    odds by Laplace's rule of succession."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    shape = TREES_PER_HEAD, MAX_NODES
    feature, left, right = (np.full(shape, fill, np.int64) for fill in (-1, 0, 0))
    threshold, value = np.zeros(shape), np.zeros(shape)
    row_weights = weights * np.abs(2 * target - 1)
    is_used = row_weights > 0
    is_positive = target[is_used] > 0.5
    if not is_used.any():
        return 0.0, feature, threshold, left, right, value
    if is_positive.all() or not is_positive.any():
        n = float(row_weights.sum())
        return (1 if is_positive.all() else -1) * np.log(n + 1), feature, threshold, left, right, value
    # sample weights make the binning a loop over rows in Python, fifteen times as slow
    sample_weights = None if np.ptp(row_weights[is_used]) == 0 else row_weights[is_used]
    classifier = HistGradientBoostingClassifier(**BOOSTING_OPTIONS).fit(
        vectors[is_used], is_positive, sample_weight=sample_weights
    )
    trees: Sequence[Any] = classifier._predictors
    for i, (tree,) in enumerate(trees):
        nodes = tree.nodes
        node_range = slice(len(nodes))
        is_leaf = nodes["is_leaf"].astype(bool)
        feature[i, node_range] = np.where(is_leaf, -1, nodes["feature_idx"])
        threshold[i, node_range] = nodes["num_threshold"]
        left[i, node_range], right[i, node_range] = nodes["left"], nodes["right"]
        value[i, node_range] = np.where(is_leaf, nodes["value"], 0.0)
    return float(np.ravel(classifier._baseline_prediction)[0]), feature, threshold, left, right, value


def _with_first_label(logits: Floats, labels: int) -> Floats:
    """Returns the logits (n, labels). With one head for the second of two labels, the logit of the first is 0."""
    return logits if logits.shape[1] == labels else np.hstack([np.zeros_like(logits), logits])
