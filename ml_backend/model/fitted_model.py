"""The fitted model of one control: the fitted tensors, and the snapshot of the data that the tensors were fitted on, so
that the promotion gate can compare two models.

`FittedModel.started_from` is the name of one of a learner's priors; `TrainingSnapshot.prior` is a checksum that
identifies all of the priors together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Fit, Floats, Ints, Mask, Tensors, TrainingSet
from ml_backend.core.ports import Learner
from ml_backend.core.schema import ControlSchema
from ml_backend.kinds.choices.pairs import learner_of
from ml_backend.kinds.choices.scoring import expected_errors
from ml_backend.model.tensor_packing import rounded
from ml_backend.model.training_sample import TrainingSample, training_sample

MIN_TARGETS = 2
"""Number of labelled tasks that a fit needs."""
MAX_CROSS_VALIDATED_AGAIN = 5000
"""Number of labelled tasks up to which the serving model is cross-validated again, on the folds of the new model. For
more tasks, the held-out probabilities of the serving model are used."""
ROWS_PER_BATCH = 8192  # rows whose vectors are copied at a time
NO_PRIORS: Mapping[str, Tensors] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """The data that a fit depends on.

    plugin         the name of the learner
    space          the name of the vector space
    labels         the labels of the c columns
    multiple       whether several labels may hold at once
    tasks          (n,) int64 ids of the labelled tasks, ascending
    texts          the content keys of the tasks' texts, concatenated
    targets        (n, c) float32
    prior          the checksum of the priors from which the fit could start, "" for none
    antisymmetric  as in `ControlSchema`
    """

    plugin: str
    space: str
    labels: tuple[str, ...]
    multiple: bool
    tasks: Ints
    texts: bytes
    targets: Floats
    prior: str = ""
    antisymmetric: bool = False

    @property
    def learner(self) -> Learner:
        """The learner that is fitted."""
        return learner_of(self.plugin, antisymmetric=self.antisymmetric)

    def gives_same_fit(self, other: TrainingSnapshot) -> bool:
        """Whether a fit on the other snapshot would give the same model."""
        names = ("plugin", "space", "labels", "multiple", "texts", "prior", "antisymmetric")
        return (
            all(getattr(self, name) == getattr(other, name) for name in names)
            and np.array_equal(self.tasks, other.tasks)
            and np.array_equal(self.targets, other.targets)
        )

    def targets_for(self, new: TrainingSnapshot) -> Floats | None:
        """(n of `new`, c) the targets of this snapshot for the tasks of `new`, NaN for tasks that it does not have;
        None if the labels, `multiple` or `antisymmetric` differ."""
        same_kind = (new.multiple, new.antisymmetric) == (self.multiple, self.antisymmetric)
        if set(new.labels) != set(self.labels) or not same_kind:
            return None
        return _aligned_values(self.targets, self, new)


def _aligned_values(values: Floats, old: TrainingSnapshot, new: TrainingSnapshot) -> Floats:
    """(n of `new`, c) the `values` of the tasks of `old`, in the rows and columns of `new`, which has the same labels;
    NaN for tasks that `old` does not have."""
    out = np.full(new.targets.shape, np.nan, np.float32)
    _, new_rows, old_rows = np.intersect1d(new.tasks, old.tasks, assume_unique=True, return_indices=True)
    out[new_rows] = values[old_rows][:, [old.labels.index(label) for label in new.labels]]
    return out


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model that was fitted on a snapshot.

    number        the number of the version for which the model was fitted
    snapshot      the data that the model was fitted on
    tensors       the fitted tensors, for `Learner.predict`
    held_out      (n, c) held-out probabilities of the snapshot's tasks, rounded as in an artifact
    started_from  the name of the prior that the fit started from, "" for none
    prior_errors  as in `Fit`
    trust         as in `Fit`
    """

    number: int
    snapshot: TrainingSnapshot
    tensors: Tensors
    held_out: Floats
    started_from: str = ""
    prior_errors: Mapping[str, float] = field(default_factory=dict)
    trust: float | None = None

    def held_out_for(self, new: TrainingSnapshot) -> Floats:
        """(n of `new`, c) held-out probabilities of the tasks of a snapshot with the same labels; NaN for tasks that
        the model was not fitted on."""
        return _aligned_values(self.held_out, self.snapshot, new)

    def errors(self, tasks: Ints, control: ControlSchema) -> Floats:
        """(m,) the held-out `expected_errors` for `tasks` (m,), ascending; NaN for tasks that the model was not fitted
        on."""
        errors = expected_errors(self.held_out, self.snapshot.targets, control)
        out = np.full(len(tasks), np.nan, np.float32)
        _, rows, fitted_rows = np.intersect1d(tasks, self.snapshot.tasks, assume_unique=True, return_indices=True)
        out[rows] = errors[fitted_rows]
        return out

    def without_training_data(self) -> FittedModel:
        """The model without the tasks and targets of its snapshot: it predicts the same and takes little memory."""
        full = self.snapshot
        empty = replace(full, tasks=full.tasks[:0].copy(), texts=b"", targets=full.targets[:0].copy())
        return replace(self, snapshot=empty, held_out=self.held_out[:0].copy())

    def predict(self, control: ControlSchema, vectors: Floats) -> Floats:
        """(n, c) probabilities of the labels of `schema`; 0 for a label that the model was not fitted on."""
        return self.predict_labels(control.labels, control.multiple, vectors)

    def predict_labels(self, labels: tuple[str, ...], multiple: bool, vectors: Floats) -> Floats:
        """(n, c) probabilities of `labels`; 0 for a label that the model was not fitted on."""
        fitted_labels = self.snapshot.labels
        probabilities = self.snapshot.learner.predict(self.tensors, vectors)
        if labels == fitted_labels:
            return probabilities
        out = np.zeros((len(probabilities), len(labels)), np.float32)
        for column, label in enumerate(labels):
            if label in fitted_labels:
                out[:, column] = probabilities[:, fitted_labels.index(label)]
        if not multiple:
            out += 1e-6  # without any of the fitted labels, all labels are equally likely
            out /= out.sum(axis=1, keepdims=True)
        return out


def fit_model(
    snapshot: TrainingSnapshot,
    vectors: Floats,
    serving: FittedModel | None,
    number: int,
    priors: Mapping[str, Tensors] = NO_PRIORS,
    prior_selection_mask: Mask | None = None,
) -> tuple[FittedModel, Fit] | tuple[None, None]:
    """Fits the model of version `number` and cross-validates it and the serving model on the same folds, for the gate.

    vectors               (n, d) of the snapshot's tasks, read by rows. If there are very many rows, the model is fitted
                          on a sample (see `training_sample`)
    serving               the serving model, None if there is none
    prior_selection_mask  as in `TrainingSet`

    Returns (None, None) if there are too few targets, or if all targets are equal and no prior helps.
    """
    targets = snapshot.targets
    targets_differ = bool((targets != targets[:1]).any())
    if len(targets) < MIN_TARGETS or not (targets_differ or priors):
        return None, None
    train = TrainingSet(
        vectors=vectors,
        targets=targets,
        weights=np.ones(len(targets), np.float32),
        multiple=snapshot.multiple,
        earlier=serving.snapshot.targets_for(snapshot) if serving else None,
        earlier_tensors=serving.tensors if serving and serving.snapshot.labels == snapshot.labels else None,
        priors=priors,
        prior_selection_mask=prior_selection_mask,
        validates_earlier=len(targets) <= MAX_CROSS_VALIDATED_AGAIN,
    )
    has_old_target = (
        np.zeros(len(targets), np.bool_) if train.earlier is None else (train.earlier == targets).all(axis=1)
    )
    sample = training_sample(snapshot.tasks, targets, ~has_old_target)
    fit = _fit(snapshot, train, serving, number) if sample is None else _fit_sample(snapshot, train, sample, number)
    if not train.validates_earlier:
        fit = replace(fit, held_out_earlier=_held_out_of(serving, train, snapshot) if serving else None)
    if not (targets_differ or fit.prior):
        return None, None
    model = FittedModel(number, snapshot, fit.tensors, rounded(fit.held_out), fit.prior, fit.prior_errors, fit.trust)
    return model, fit


def _fit(snapshot: TrainingSnapshot, train: TrainingSet, serving: FittedModel | None, number: int) -> Fit:
    fit = snapshot.learner.fit(replace(train, vectors=np.asarray(train.vectors)), seed=number)
    plugin = serving.snapshot.plugin if serving and train.validates_earlier else snapshot.plugin
    if plugin != snapshot.plugin and plugin in registry.installed("learner"):
        # the gate needs the serving model's plugin, not the new one, cross-validated on the earlier targets
        serving_plugin_fit = replace(snapshot, plugin=plugin).learner.fit(train, seed=number)
        fit = replace(fit, held_out_earlier=serving_plugin_fit.held_out_earlier)
    return fit


def _fit_sample(snapshot: TrainingSnapshot, train: TrainingSet, sample: TrainingSample, number: int) -> Fit:
    """A fit on the rows of a sample. The fitted tensors predict the held-out probabilities of the other rows, on which
    they were not fitted."""
    learner = snapshot.learner
    fit = learner.fit(replace(train.take(sample.rows), weights=sample.weights), seed=number)
    held_out = np.empty(train.targets.shape, np.float32)
    held_out[sample.rows] = fit.held_out
    others = np.setdiff1d(np.arange(len(held_out)), sample.rows, assume_unique=True)
    for rows in np.array_split(others, len(others) // ROWS_PER_BATCH + 1):
        held_out[rows] = learner.predict(fit.tensors, train.vectors[rows])
    return replace(fit, held_out=held_out)


def _held_out_of(serving: FittedModel, train: TrainingSet, snapshot: TrainingSnapshot) -> Floats | None:
    """(n, c) probabilities of the serving model for the rows of a snapshot: held-out probabilities for rows that the
    model was fitted on, and predictions for new rows. None if the snapshot has other labels than the serving model, or
    if the serving model's plugin is not installed."""
    if train.earlier is None or serving.snapshot.plugin not in registry.installed("learner"):
        return None
    held_out = serving.held_out_for(snapshot)
    new_rows = np.flatnonzero(np.isnan(held_out).any(axis=1))
    for rows in np.array_split(new_rows, len(new_rows) // ROWS_PER_BATCH + 1) if len(new_rows) else ():
        held_out[rows] = serving.predict_labels(snapshot.labels, snapshot.multiple, train.vectors[rows])
    return held_out
