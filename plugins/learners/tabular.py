"""The learner of records: whichever of three kinds the annotators' answers speak for.

`fields`: LAAT as it should be (see `laat`), which is there from the first answer on and the best with few. `labels`: a
logistic head that starts from the labels that a teacher gave, if the answers bear them out. `trees`: gradient-boosted
trees, once answers are many. One of the latter takes the place of the first if its cross-validated log loss is less by
more than the standard error of the difference (as in `priors.choose`): no one has to choose, and few answers do not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.domain import Fit, Floats, Material, Tensors, TrainingSet
from ml_backend.ports import Learner
from plugins.learners.laat import FIELDS, Laat
from plugins.learners.logistic import Logistic
from plugins.learners.trees import Trees

LABELS, TREES = "labels", "trees"
MANY, MOST_LABELS, GROWTH = 600, 5, 1.1
"""Answers from which trees are grown, since with fewer they never won; labels up to which they are; and how much the
answers must have grown for trees that did not win to be tried again: it takes longer than all else in a round."""
DOUBT = 1.0
SMALLEST = 1e-6
KIND = "kind"
KINDS: dict[str, type[Learner]] = {FIELDS: Laat, LABELS: Logistic, TREES: Trees}


class Tabular:
    """Tensors: those of the chosen kind, and which one it is: kind (1,) int."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        taught = {name: given for name, given in train.priors.items() if name != FIELDS}
        fits = {FIELDS: Laat().fit(_with(train, {FIELDS}), seed)}
        by_labels = Logistic().fit(_with(train, taught.keys()), seed) if taught else None
        if by_labels and by_labels.prior:
            fits[LABELS] = by_labels
        if _is_time(train):
            fits[TREES] = Trees().fit(train, seed)
        chosen = FIELDS
        for name, fit in fits.items():
            gain, doubt = _apart(fits[chosen], fit, train)
            if gain > DOUBT * doubt:
                chosen = name
        tensors: Tensors = {**fits[chosen].tensors, KIND: np.array([list(KINDS).index(chosen)])}
        prior_errors = by_labels.prior_errors if by_labels else {}
        return replace(fits[chosen], tensors=tensors, prior_errors=prior_errors, trust=fits[FIELDS].trust)

    def distil(self, material: Material, multiple: bool, seed: int) -> dict[str, Tensors]:
        """What is known of the fields, and the teacher's labels."""
        return {**Laat().distil(material, multiple, seed), **Logistic().distil(material, multiple, seed)}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities."""
        kind = KINDS[list(KINDS)[int(tensors[KIND][0])]]
        return kind().predict({name: each for name, each in tensors.items() if name != KIND}, vectors)


def _is_time(train: TrainingSet) -> bool:
    """Whether trees are grown: if they serve, or there are enough answers for another try."""
    n = int(np.count_nonzero(train.weights))
    if n < MANY or train.targets.shape[1] > MOST_LABELS:
        return False
    if train.earlier is None or train.earlier_tensors is None or KIND not in train.earlier_tensors:
        return True
    before = int((~np.isnan(train.earlier).any(axis=1)).sum())
    serves = list(KINDS)[int(train.earlier_tensors[KIND][0])] == TREES
    return serves or before < MANY or int(np.log(n) / np.log(GROWTH)) > int(np.log(before) / np.log(GROWTH))


def _with(train: TrainingSet, names: object) -> TrainingSet:
    """The same rows, with some of the priors."""
    kept = {name: given for name, given in train.priors.items() if name in names}  # type: ignore[operator]
    return replace(train, priors=kept)


def _apart(one: Fit, other: Fit, train: TrainingSet) -> tuple[float, float]:
    """How much less the log loss of the other one is, as a mean over the rows, and its standard error."""
    if not train.say.any():
        return 0.0, 0.0
    share = train.say / train.say.sum()
    less = _loss(one.held_out, train) - _loss(other.held_out, train)
    gain = float(share @ less)
    return gain, float(np.sqrt(np.square(share) @ np.square(less - gain)))


def _loss(said: Floats, train: TrainingSet) -> Floats:
    """(n,) cross-entropy."""
    p, t = np.clip(said, SMALLEST, 1 - SMALLEST), train.targets
    loss = t * np.log(p) + ((1 - t) * np.log(1 - p) if train.multiple else 0)
    return np.asarray(-loss.sum(axis=1))
