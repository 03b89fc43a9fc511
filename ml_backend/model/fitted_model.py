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
from ml_backend.core.arrays import (
    Fit,
    Floats,
    Ints,
    Mask,
    Rows,
    Tensors,
    TrainingSet,
    are_equal,
    are_missing,
    equals_row,
    missing_rows,
)
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.texts import Texts
from ml_backend.core.types import DEFAULT_DRAFT_RULE, DraftRule, Remark
from ml_backend.kinds.lookup import fitted_schema, kind_of
from ml_backend.model.training_sample import TrainingSample, training_sample

MIN_TARGETS = 2
"""Number of labelled tasks that a fit needs."""
MAX_CROSS_VALIDATED_AGAIN = 5000
"""Number of labelled tasks up to which the serving model is cross-validated again, on the folds of the new model. For
more tasks, the held-out predictions of the serving model are used."""
ROWS_PER_BATCH = 8192  # rows whose vectors are copied at a time
NO_PRIORS: Mapping[str, Tensors] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """The data that a fit depends on.

    plugin   the name of the learner
    space    the name of the vector space
    control  the properties of the control that the fit depends on, see `kinds.lookup.fitted_schema`
    tasks    (n,) int64 ids of the labelled tasks, ascending
    texts    the content keys of the tasks' texts, concatenated
    targets  (n, ...) of the control's kind
    prior    the checksum of the priors from which the fit could start, "" for none
    draft_rule  what the model drafts
    """

    plugin: str
    space: str
    control: ControlSchema
    tasks: Ints
    texts: bytes
    targets: Rows
    prior: str = ""
    draft_rule: DraftRule = DEFAULT_DRAFT_RULE

    @property
    def learner(self) -> Learner:
        """The learner that is fitted."""
        return kind_of(self.control).learner(self.control, self.plugin)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the control, () if it has none."""
        return self.control.labels

    def is_for(self, control: ControlSchema) -> bool:
        """Whether a fit for `control` would have the same properties."""
        return self.control == fitted_schema(control)

    def gives_same_fit(self, other: TrainingSnapshot) -> bool:
        """Whether a fit on the other snapshot would give the same model."""
        names = ("plugin", "space", "control", "texts", "prior", "draft_rule")
        return (
            all(getattr(self, name) == getattr(other, name) for name in names)
            and np.array_equal(self.tasks, other.tasks)
            and np.array_equal(self.targets, other.targets)
        )

    def training_set(
        self,
        vectors: Floats,
        texts: Texts | None = None,
        priors: Mapping[str, Tensors] = NO_PRIORS,
        prior_selection_mask: Mask | None = None,
    ) -> TrainingSet:
        """The tasks and targets as a `TrainingSet`, with the other fields as described there. `vectors` (n, d) are read
        by rows"""
        return TrainingSet(
            vectors=vectors,
            targets=self.targets,
            weights=np.ones(len(self.targets), np.float32),
            control=self.control,
            priors=priors,
            prior_selection_mask=prior_selection_mask,
            texts=texts,
            draft_rule=self.draft_rule,
        )

    def targets_for(self, new: TrainingSnapshot) -> Rows | None:
        """(n of `new`, ...) the targets of this snapshot for the tasks of `new`, missing for tasks that it does not
        have; None if the targets of the two snapshots cannot be compared."""
        return _aligned_rows(self.targets, self, new)


def _aligned_rows(rows: Rows, old: TrainingSnapshot, new: TrainingSnapshot) -> Rows | None:
    """(n of `new`, ...) the `rows` of the tasks of `old`, for the tasks and the labels of `new`; missing for tasks that
    `old` does not have. None if the rows of the two snapshots cannot be compared."""
    if old.control.kind != new.control.kind:
        return None
    remapped = kind_of(new.control).remap(new.control, rows, old.control)
    if remapped is None:
        return None
    aligned = missing_rows(remapped, len(new.tasks))
    _, new_rows, old_rows = np.intersect1d(new.tasks, old.tasks, assume_unique=True, return_indices=True)
    aligned[new_rows] = remapped[old_rows]
    return aligned


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model that was fitted on a snapshot.

    number        the number of the version for which the model was fitted
    snapshot      the data that the model was fitted on
    tensors       the fitted tensors, for `Learner.predict`
    held_out      (n, ...) held-out predictions for the snapshot's tasks, as they come back from an artifact
    started_from  the name of the prior that the fit started from, "" for none
    prior_errors  as in `Fit`
    trust         as in `Fit`
    remark        as in `Fit`
    is_doubted    whether the embedded teacher's drafts are shown in place of the model's: see `Kind.doubts_learner`
    """

    number: int
    snapshot: TrainingSnapshot
    tensors: Tensors
    held_out: Rows
    started_from: str = ""
    prior_errors: Mapping[str, float] = field(default_factory=dict)
    trust: float | None = None
    is_doubted: bool = False
    remark: Remark | None = None

    def held_out_for(self, new: TrainingSnapshot) -> Rows | None:
        """(n of `new`, ...) held-out predictions for the tasks of a snapshot, missing for tasks that the model was not
        fitted on; None if the predictions for the two snapshots cannot be compared."""
        return _aligned_rows(self.held_out, self.snapshot, new)

    def errors(self, tasks: Ints, control: ControlSchema) -> Floats:
        """(m,) the held-out `Kind.expected_errors` for `tasks` (m,), ascending; NaN for tasks that the model was not
        fitted on."""
        errors = kind_of(control).expected_errors(control, self.held_out, self.snapshot.targets)
        out = np.full(len(tasks), np.nan, np.float32)
        _, rows, fitted_rows = np.intersect1d(tasks, self.snapshot.tasks, assume_unique=True, return_indices=True)
        out[rows] = errors[fitted_rows]
        return out

    def without_training_data(self) -> FittedModel:
        """The model without the tasks and targets of its snapshot: it predicts the same and takes little memory."""
        full = self.snapshot
        empty = replace(full, tasks=full.tasks[:0].copy(), texts=b"", targets=full.targets[:0].copy())
        return replace(self, snapshot=empty, held_out=self.held_out[:0].copy())

    def predict(self, control: ControlSchema, vectors: Floats, texts: Texts | None = None) -> Rows:
        """(n, ...) predictions for a control, which may have changed since the fit, from vectors (n, d) and, for a
        `TextLearner`, the texts."""
        predicted = predict_rows(self.snapshot.learner, self.tensors, vectors, texts)
        return kind_of(control).adapt(control, predicted, self.snapshot.control)


def draft_rule(control: ControlSchema, options: ProjectSettings) -> DraftRule:
    """What a learner of the control drafts by the settings that are about its kind; the default of the others."""
    names = kind_of(control).draft_rule_names
    return replace(DEFAULT_DRAFT_RULE, **{name: getattr(options.draft_rule, name) for name in names})


def fit_model(
    snapshot: TrainingSnapshot, train: TrainingSet, serving: FittedModel | None, number: int
) -> tuple[FittedModel, Fit] | tuple[None, None]:
    """Fits the model of version `number` and cross-validates it and the serving model on the same folds, for the gate.

    train    made by `snapshot.training_set`. If there are very many rows, the model is fitted on a sample (see
             `training_sample`)
    serving  the serving model, None if there is none

    Returns (None, None) if there are too few targets, or if all targets are equal and no prior helps.
    """
    targets, of_kind = snapshot.targets, kind_of(snapshot.control)
    targets_differ = not are_equal(targets)
    if len(targets) < MIN_TARGETS or not (targets_differ or train.priors):
        return None, None
    train = replace(
        train,
        earlier=serving.snapshot.targets_for(snapshot) if serving else None,
        earlier_tensors=serving.tensors if serving and serving.snapshot.control == snapshot.control else None,
        validates_earlier=len(targets) <= MAX_CROSS_VALIDATED_AGAIN,
    )
    has_old_target = np.zeros(len(targets), np.bool_) if train.earlier is None else equals_row(train.earlier, targets)
    sample = training_sample(snapshot.tasks, of_kind.strata(snapshot.control, targets), ~has_old_target)
    fit = _fit(snapshot, train, serving, number) if sample is None else _fit_sample(snapshot, train, sample, number)
    if not train.validates_earlier:
        fit = replace(fit, held_out_earlier=_held_out_of(serving, train, snapshot) if serving else None)
    if not (targets_differ or fit.prior):
        return None, None
    held_out = of_kind.unpack_predicted(snapshot.control, of_kind.pack_predicted(snapshot.control, fit.held_out))
    model = FittedModel(
        number, snapshot, fit.tensors, held_out, fit.prior, fit.prior_errors, fit.trust, remark=fit.remark
    )
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
    """A fit on the rows of a sample. The fitted tensors give the held-out predictions for the other rows, on which they
    were not fitted."""
    learner = snapshot.learner
    fit = learner.fit(replace(train.take(sample.rows), weights=sample.weights), seed=number)
    held_out = missing_rows(fit.held_out, len(train.targets))
    held_out[sample.rows] = fit.held_out
    others = np.setdiff1d(np.arange(len(held_out)), sample.rows, assume_unique=True)
    for rows in np.array_split(others, len(others) // ROWS_PER_BATCH + 1):
        held_out[rows] = predict_rows(learner, fit.tensors, train.vectors[rows], train.texts_of(rows))
    return replace(fit, held_out=held_out)


def _held_out_of(serving: FittedModel, train: TrainingSet, snapshot: TrainingSnapshot) -> Rows | None:
    """(n, ...) predictions of the serving model for the rows of a snapshot: held-out predictions for rows that the
    model was fitted on, and plain ones for new rows. None if the two cannot be compared, or if the serving model's
    plugin is not installed."""
    held_out = serving.held_out_for(snapshot)
    if held_out is None or serving.snapshot.plugin not in registry.installed("learner"):
        return None
    new_rows = np.flatnonzero(are_missing(held_out))
    for rows in np.array_split(new_rows, len(new_rows) // ROWS_PER_BATCH + 1) if len(new_rows) else ():
        held_out[rows] = serving.predict(snapshot.control, train.vectors[rows], train.texts_of(rows))
    return held_out
