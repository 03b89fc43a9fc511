"""The learner of records: whichever of four kinds the annotators' answers speak for.

`fields`: LAAT as it should be (see `laat`), which is there from the first answer on and the best with few. `labels`: a
logistic head that starts from the labels' names or those that a teacher gave, if the answers bear them out; it is the
first where nobody knows anything of the fields, or LAAT would take too long. `mlp`: the first with a layer of units,
once answers are hundreds. `trees`: gradient-boosted trees, once they are more. Each takes the place of the ones before
if its cross-validated log loss is less by more than the standard error of the difference (as in `priors.choose`): no
one has to choose, and few answers do not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_backend.core.ports import Learner
from ml_backend.core.types import DistillationData, Fit, Floats, Tensors, TrainingSet
from plugins.learners.calibration import cross_entropy
from plugins.learners.laat import FIELDS, Laat
from plugins.learners.logistic import Logistic
from plugins.learners.mlp import Mlp, bent
from plugins.learners.trees import Trees

LABELS, MLP, TREES = "labels", "mlp", "trees"
MANY: dict[str, tuple[int, int]] = {MLP: (200, 50), TREES: (600, 5)}
"""Answers from which they are fitted, and labels up to which they are: with fewer answers they seldom win, and with
more labels they take too long."""
GROWTH = 1.1
"""How much the answers must have grown for those that did not win to be tried again: they take longer than all else in
a round."""
MOST_WORK = 2_000_000
"""Rows times columns times heads of LAAT: of one second or two."""
DOUBT = 1.0
KIND = "kind"
# an artifact holds a kind by its place in here: new ones come last
KINDS: dict[str, type[Learner]] = {FIELDS: Laat, LABELS: Logistic, TREES: Trees, MLP: Mlp}


class Tabular:
    """Tensors: those of the chosen kind, and which one it is: kind (1,) int."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        """Deterministic for a seed."""
        taught = {name: given for name, given in train.priors.items() if name != FIELDS}
        fits = {FIELDS: Laat().fit(_with(train, {FIELDS}), seed)} if _is_small(train) else {}
        by_labels = Logistic().fit(_with(train, taught.keys()), seed) if taught or not fits else None
        if by_labels and (by_labels.prior or not fits):
            fits = {**fits, LABELS: by_labels} if _is_told(train) else {LABELS: by_labels, **fits}
        if _is_time(train, MLP):
            fits[MLP] = bent(train, fits[FIELDS if FIELDS in fits else LABELS], seed)
        if _is_time(train, TREES):
            fits[TREES] = Trees().fit(train, seed)
        chosen = next(iter(fits))
        for name, fit in fits.items():
            gain, doubt = _apart(fits[chosen], fit, train)
            if gain > DOUBT * doubt:
                chosen = name
        tensors: Tensors = {**fits[chosen].tensors, KIND: np.array([list(KINDS).index(chosen)])}
        prior_errors = by_labels.prior_errors if by_labels else {}
        trust = fits[FIELDS].trust if FIELDS in fits else None
        return replace(fits[chosen], tensors=tensors, prior_errors=prior_errors, trust=trust)

    def distil(self, material: DistillationData, multiple: bool, seed: int) -> dict[str, Tensors]:
        """What is known of the fields, and the teacher's labels."""
        return {**Laat().distil(material, multiple, seed), **Logistic().distil(material, multiple, seed)}

    def predict(self, tensors: Tensors, vectors: Floats) -> Floats:
        """(n, c) calibrated probabilities."""
        kind = KINDS[list(KINDS)[int(tensors[KIND][0])]]
        return kind().predict({name: each for name, each in tensors.items() if name != KIND}, vectors)


def _is_small(train: TrainingSet) -> bool:
    """Whether LAAT takes no longer than a round may."""
    (n, d), c = train.vectors.shape, train.targets.shape[1]
    return n * d * (1 if c == 2 and not train.multiple else c) <= MOST_WORK


def _is_told(train: TrainingSet) -> bool:
    """Whether anybody knows anything of the fields."""
    return FIELDS in train.priors and bool(np.any(train.priors[FIELDS]["scores"]))


def _is_time(train: TrainingSet, kind: str) -> bool:
    """Whether a kind that takes long is fitted: if it serves, or there are enough answers for another try."""
    n, (many, most_labels) = int(np.count_nonzero(train.weights)), MANY[kind]
    if n < many or train.targets.shape[1] > most_labels:
        return False
    if train.earlier is None or train.earlier_tensors is None or KIND not in train.earlier_tensors:
        return True
    before = int((~np.isnan(train.earlier).any(axis=1)).sum())
    serves = list(KINDS)[int(train.earlier_tensors[KIND][0])] == kind
    return serves or before < many or int(np.log(n) / np.log(GROWTH)) > int(np.log(before) / np.log(GROWTH))


def _with(train: TrainingSet, names: object) -> TrainingSet:
    """The same rows, with some of the priors."""
    kept = {name: given for name, given in train.priors.items() if name in names}  # type: ignore[operator]
    return replace(train, priors=kept)


def _apart(one: Fit, other: Fit, train: TrainingSet) -> tuple[float, float]:
    """How much less the log loss of the other one is, as a mean over the rows, and its standard error."""
    if not train.say.any():
        return 0.0, 0.0
    share = train.say / train.say.sum()
    before, after = (cross_entropy(fit.held_out, train.targets, train.multiple) for fit in (one, other))
    less = before - after
    gain = float(share @ less)
    return gain, float(np.sqrt(np.square(share) @ np.square(less - gain)))
