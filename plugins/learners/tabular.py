"""The learner of records: chooses among four kinds of model by the annotators' labels.

`fields`: LAAT as a Bayesian average (see `laat`), available from the first label on and the best with few labels.
`labels`: a logistic head that starts from the labels' names or from the teacher's labels, if the annotators' labels
support them; it is the first kind where the fields have no scores, or where LAAT would take too long. `mlp`: the first
kind with a hidden layer, with hundreds of labels. `trees`: gradient-boosted trees, with more labels. Each kind replaces
the ones before it if its cross-validated log loss is lower by more than the standard error of the difference (as in
`priors.choose`): no user has to choose, and few labels do not decide.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import DistillationData, Fit, Floats, Tensors, TrainingSet
from ml_backend.core.ports import Learner
from ml_backend.core.schema import takes_several_labels
from plugins.learners.calibration import cross_entropy
from plugins.learners.laat import FIELDS, Laat
from plugins.learners.logistic import Logistic
from plugins.learners.mlp import Mlp, with_hidden_units
from plugins.learners.trees import Trees

LABELS, MLP, TREES = "labels", "mlp", "trees"
MIN_GROWTH_TO_RETRY = 1.1
"""Factor by which the number of labelled rows must grow before a slow kind that did not win is tried again: it takes
longer than all else in a round."""
KIND = "kind"
# an artifact stores the index of a kind in this dict: append new kinds at the end
KINDS: dict[str, type[Learner]] = {FIELDS: Laat, LABELS: Logistic, TREES: Trees, MLP: Mlp}


@dataclass(frozen=True, slots=True)
class Limits:
    """When a kind is fitted, and when it replaces another one.

    mlp, trees           minimum number of rows and maximum number of labels for which a slow kind is fitted: with fewer
                         rows it seldom wins, and with more labels it takes too long
    max_laat_size        largest product of rows, columns and heads for LAAT: one or two seconds
    min_standard_errors  a kind must have a lower log loss by more than this many standard errors
    """

    mlp: tuple[int, int] = (200, 50)
    trees: tuple[int, int] = (600, 5)
    max_laat_size: int = 2_000_000
    min_standard_errors: float = 1.0


class Tabular:
    """Tensors: those of the chosen kind, and kind (1,) int, its place in `KINDS`."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        label_priors = {name: prior for name, prior in train.priors.items() if name != FIELDS}
        fits = (
            {FIELDS: Laat().fit(_with_priors(train, {FIELDS}), seed)} if self._is_small_enough_for_laat(train) else {}
        )
        by_labels = Logistic().fit(_with_priors(train, label_priors.keys()), seed) if label_priors or not fits else None
        if by_labels and (by_labels.prior or not fits):
            fits = {**fits, LABELS: by_labels} if _has_scores(train) else {LABELS: by_labels, **fits}
        if is_due(train, MLP, self._limits.mlp):
            fits[MLP] = with_hidden_units(train, fits[FIELDS if FIELDS in fits else LABELS], seed)
        if is_due(train, TREES, self._limits.trees):
            fits[TREES] = Trees().fit(train, seed)
        chosen = next(iter(fits))
        for name, fit in fits.items():
            reduction, standard_error = _loss_reduction(fits[chosen], fit, train)
            if reduction > self._limits.min_standard_errors * standard_error:
                chosen = name
        tensors: Tensors = {**fits[chosen].tensors, KIND: np.array([list(KINDS).index(chosen)])}
        prior_errors = by_labels.prior_errors if by_labels else {}
        trust = fits[FIELDS].trust if FIELDS in fits else None
        return replace(fits[chosen], tensors=tensors, prior_errors=prior_errors, trust=trust)

    def distil(self, data: DistillationData, seed: int) -> dict[str, Tensors]:
        """Returns the scores of the fields, and the heads of the teacher's labels."""
        return {**Laat().distil(data, seed), **Logistic().distil(data, seed)}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """Returns calibrated probabilities (n, c)."""
        kind = KINDS[list(KINDS)[int(tensors[KIND][0])]]
        return kind().predict({name: tensor for name, tensor in tensors.items() if name != KIND}, vectors)

    def _is_small_enough_for_laat(self, train: TrainingSet) -> bool:
        """Returns whether LAAT takes no longer than a round may."""
        (n, d), c = train.vectors.shape, train.targets.shape[1]
        return n * d * (1 if c == 2 and not takes_several_labels(train.control) else c) <= self._limits.max_laat_size


def _has_scores(train: TrainingSet) -> bool:
    """Returns whether the teacher has scored any field."""
    return FIELDS in train.priors and bool(np.any(train.priors[FIELDS]["scores"]))


def is_due(train: TrainingSet, kind: str, limits: tuple[int, int]) -> bool:
    """Returns whether a slow kind is to be fitted: if it is the serving one, or if enough labels have been added since
    the last attempt. `limits`: the minimum number of rows and the maximum number of labels."""
    n, (min_rows, max_labels) = int(np.count_nonzero(train.weights)), limits
    if n < min_rows or train.targets.shape[1] > max_labels:
        return False
    if train.earlier is None or train.earlier_tensors is None or KIND not in train.earlier_tensors:
        return True
    earlier_rows = int((~np.isnan(train.earlier).any(axis=1)).sum())
    is_serving = list(KINDS)[int(train.earlier_tensors[KIND][0])] == kind
    return (
        is_serving
        or earlier_rows < min_rows
        or int(np.log(n) / np.log(MIN_GROWTH_TO_RETRY)) > int(np.log(earlier_rows) / np.log(MIN_GROWTH_TO_RETRY))
    )


def _with_priors(train: TrainingSet, names: Container[str]) -> TrainingSet:
    """Returns the same rows with only the priors of these names."""
    return replace(train, priors={name: prior for name, prior in train.priors.items() if name in names})


def _loss_reduction(first: Fit, second: Fit, train: TrainingSet) -> tuple[float, float]:
    """Returns by how much the log loss of the second fit is lower, as a mean over the rows, and the standard error of
    that mean."""
    if not train.prior_selection_weights.any():
        return 0.0, 0.0
    shares = train.prior_selection_weights / train.prior_selection_weights.sum()
    first_losses, second_losses = (
        cross_entropy(fit.held_out, train.targets, takes_several_labels(train.control)) for fit in (first, second)
    )
    reductions = first_losses - second_losses
    mean_reduction = float(shares @ reductions)
    return mean_reduction, float(np.sqrt(np.square(shares) @ np.square(reductions - mean_reduction)))
