"""Logistic regression over frozen vectors, fitted and cross-validated in one optimisation (see `multi_head_logistic`)
and calibrated."""

from __future__ import annotations

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.core.schema import takes_several_labels
from plugins.learners.calibration import fit_calibration, linear_probabilities, probabilities
from plugins.learners.cross_validation import FOLDS, split
from plugins.learners.multi_head_logistic import MANY_ROWS, Head, Heads, solve
from plugins.learners.priors import candidates, choose

FOLDS_ABOVE_MANY_ROWS = 3
"""Number of folds for more than `MANY_ROWS` rows: the heads are as good, and four are fitted instead of six."""
PRIOR_WEIGHT, PRIOR_BIAS = "prior_weight", "prior_bias"


class Logistic:
    """A linear head. `fit` needs torch, `predict` numpy alone.

    Tensors: weight (d, c) float32 and bias (c,) float32, both calibrated already; multiple (1,) bool; prior_weight and
    prior_bias of the prior, if the fit started from one.
    """

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Takes a fraction of a second at hundreds of rows. A row that cannot be held out because it is the only one
        gets the uniform distribution, as does every row when no weight is above zero."""
        vectors, multiple = np.asarray(train.vectors, dtype=np.float32), takes_several_labels(train.control)
        fold = split(train.targets, multiple, seed, FOLDS_ABOVE_MANY_ROWS if len(vectors) > MANY_ROWS else FOLDS)
        folds = int(fold.max()) + 1
        weights_outside = (fold != np.arange(folds)[:, None]).astype(np.float32) * train.weights
        groups = [Heads(train.targets, np.vstack([train.weights, weights_outside]).astype(np.float32))]
        prior, name, prior_errors = self._prior(train, vectors)
        priors = [prior]
        if train.earlier_to_validate is not None:
            has_earlier = ~np.isnan(train.earlier_to_validate).any(axis=1)
            groups.append(
                Heads(np.nan_to_num(train.earlier_to_validate), (weights_outside * has_earlier).astype(np.float32))
            )
            priors.append(_prior_in(train.earlier_tensors))
        weights, biases = _solve_groups(vectors, groups, multiple, priors)

        held_out = []
        scales = []
        for heads, first_fold in zip(groups, (1, 1 + folds), strict=False):
            logits: Floats = np.empty_like(heads.targets, dtype=np.float32)
            row_weights = heads.rows.max(axis=0)
            for f, training_weights in enumerate(heads.rows[-folds:]):
                in_fold = fold == f
                logits[in_fold] = vectors[in_fold] @ weights[first_fold + f] + biases[first_fold + f]
                if not multiple:  # a row whose label has no row outside the fold says nothing about the slope
                    row_weights[in_fold] *= heads.targets[in_fold] @ (training_weights @ heads.targets > 0)
            slope, offset = fit_calibration(logits, heads.targets, row_weights, multiple)
            scales.append((slope, offset))
            held_out.append(probabilities(logits * slope + offset, multiple))
        slope, offset = scales[0]
        tensors: Tensors = {
            "weight": weights[0] * slope,
            "bias": biases[0] * slope + offset,
            "multiple": np.array([multiple]),
        }
        if prior is not None:
            tensors |= {PRIOR_WEIGHT: prior.weight, PRIOR_BIAS: prior.bias}
        earlier = held_out[1] if len(held_out) > 1 else None
        return Fit(tensors, held_out[0], earlier, name, prior_errors)

    @staticmethod
    def _prior(train: TrainingSet, vectors: Floats) -> tuple[Head | None, str, dict[str, float]]:
        """Returns the prior to start from, its name, and the relative error of each prior."""
        priors = {name: Head(**tensors) for name, tensors in train.priors.items()}  # type: ignore[arg-type]
        name, scale, prior_errors = choose(
            vectors, train.targets, train.prior_selection_weights, priors, takes_several_labels(train.control)
        )
        return (priors[name].scaled(scale), name, prior_errors) if scale else (None, "", prior_errors)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Returns the heads of `priors.candidates`."""
        heads = candidates(data, seed)
        return {name: {"weight": head.weight, "bias": head.bias} for name, head in heads.items()}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Returns calibrated probabilities (n, c). Works in chunks: vectors may be float16 or mapped from a file."""
        return linear_probabilities(tensors, vectors)


def _prior_in(tensors: Tensors | None) -> Head | None:
    """Returns the prior that the fit with these tensors started from, None if there is none."""
    if not tensors or PRIOR_WEIGHT not in tensors:
        return None
    return Head(np.asarray(tensors[PRIOR_WEIGHT], np.float32), np.asarray(tensors[PRIOR_BIAS], np.float32))


def _solve_groups(
    vectors: Floats, groups: list[Heads], multiple: bool, priors: list[Head | None]
) -> tuple[Floats, Floats]:
    """Returns the weights and biases of the heads of all groups in their order, each group drawn to its own prior.
    Groups with the same prior are solved at once."""
    if all(_is_same_head(priors[0], prior) for prior in priors):
        return solve(vectors, groups, multiple, priors[0])
    parts = [solve(vectors, [heads], multiple, prior) for heads, prior in zip(groups, priors, strict=True)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _is_same_head(first: Head | None, second: Head | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first.weight, second.weight) and np.array_equal(first.bias, second.bias)
