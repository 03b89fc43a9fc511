"""Logistic regression over frozen vectors: fitted, cross-validated and calibrated in one optimisation (see `heads`)."""

from __future__ import annotations

import numpy as np

from ml_backend.core.types import DistillationData, Fit, Floats, Tensors, TrainingSet
from plugins.learners.calibration import calibration, linear, probabilities
from plugins.learners.cross_validation import FOLDS, split
from plugins.learners.multi_head_logistic import MANY, Head, Heads, solve
from plugins.learners.priors import candidates, choose

FOLDS_OF_MANY = 3
"""Folds of more than `MANY` rows: the heads are as good, and there are four of them instead of six."""
PRIOR_WEIGHT, PRIOR_BIAS = "prior_weight", "prior_bias"


class Logistic:
    """A linear head. `fit` needs torch, `predict` numpy alone. Raises nothing of its own.

    Tensors: weight (d, c) float32 and bias (c,) float32, both calibrated already; multiple (1,) bool; where it started
    from one, the prior's prior_weight and prior_bias.
    """

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """A fraction of a second at hundreds of rows. A row that cannot be held out (the only one) gets the uniform
        answer, as does every row when no weight is above zero."""
        vectors = np.asarray(train.vectors, dtype=np.float32)
        fold = split(train.targets, train.multiple, seed, FOLDS_OF_MANY if len(vectors) > MANY else FOLDS)
        folds = int(fold.max()) + 1
        kept = (fold != np.arange(folds)[:, None]).astype(np.float32) * train.weights
        groups = [Heads(train.targets, np.vstack([train.weights, kept]).astype(np.float32))]
        prior, name, against = self._prior(train, vectors)
        priors = [prior]
        if train.earlier_to_judge is not None:
            known = ~np.isnan(train.earlier_to_judge).any(axis=1)
            groups.append(Heads(np.nan_to_num(train.earlier_to_judge), (kept * known).astype(np.float32)))
            priors.append(_kept_prior(train.earlier_tensors))
        weights, biases = _solved(vectors, groups, train.multiple, priors)

        held_out = []
        scales = []
        for heads, first in zip(groups, (1, 1 + folds), strict=False):
            logits: Floats = np.empty_like(heads.targets, dtype=np.float32)
            trust = heads.rows.max(axis=0)
            for f, rows in enumerate(heads.rows[-folds:]):
                mine = fold == f
                logits[mine] = vectors[mine] @ weights[first + f] + biases[first + f]
                if not train.multiple:  # a label unknown to the fold is no evidence on the scale of the known ones
                    trust[mine] *= heads.targets[mine] @ (rows @ heads.targets > 0)
            slope, offset = calibration(logits, heads.targets, trust, train.multiple)
            scales.append((slope, offset))
            held_out.append(probabilities(logits * slope + offset, train.multiple))
        slope, offset = scales[0]
        tensors: Tensors = {
            "weight": weights[0] * slope,
            "bias": biases[0] * slope + offset,
            "multiple": np.array([train.multiple]),
        }
        if prior is not None:
            tensors |= {PRIOR_WEIGHT: prior.weight, PRIOR_BIAS: prior.bias}
        earlier = held_out[1] if len(held_out) > 1 else None
        return Fit(tensors, held_out[0], earlier, name, against)

    @staticmethod
    def _prior(train: TrainingSet, vectors: Floats) -> tuple[Head | None, str, dict[str, float]]:
        """The prior to start from, its name, and how good each of them would be."""
        priors = {name: Head(**given) for name, given in train.priors.items()}  # type: ignore[arg-type]
        name, scale, against = choose(vectors, train.targets, train.say, priors, train.multiple)
        return (priors[name].scaled(scale), name, against) if scale else (None, "", against)

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """See `priors`."""
        found = candidates(material, multiple, seed)
        return {name: {"weight": head.weight, "bias": head.bias} for name, head in found.items()}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities, chunk by chunk: float16 and memory-mapped vectors are welcome."""
        return linear(tensors, vectors)


def _kept_prior(tensors: Tensors | None) -> Head | None:
    if not tensors or PRIOR_WEIGHT not in tensors:
        return None
    return Head(np.asarray(tensors[PRIOR_WEIGHT], np.float32), np.asarray(tensors[PRIOR_BIAS], np.float32))


def _solved(vectors: Floats, groups: list[Heads], multiple: bool, priors: list[Head | None]) -> tuple[Floats, Floats]:
    """The heads of all groups in their order, each group drawn to its own prior: at once, if that is the same."""
    if all(_same(priors[0], other) for other in priors):
        return solve(vectors, groups, multiple, priors[0])
    parts = [solve(vectors, [heads], multiple, prior) for heads, prior in zip(groups, priors, strict=True)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _same(one: Head | None, other: Head | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one.weight, other.weight) and np.array_equal(one.bias, other.bias)
