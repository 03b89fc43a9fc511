"""The stages "fit" and "assess": fits a candidate, and decides whether it replaces the serving learner."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ml_backend.core.arrays import Fit
from ml_backend.core.types import Estimate, Remark
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.promotion_gate import decide_promotion
from ml_backend.loop.context import RoundContext, RoundInputs
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.teacher import distillation


@dataclass(frozen=True, slots=True)
class Promotion:
    """The result of the promotion gate.

    learner      the learner of the new version, None before there is one
    accuracy     the accuracy of the learner, None if it is unknown
    remark       why the learner serves, None if there is nothing to say
    is_promoted  whether the learner is the candidate of this round
    """

    learner: FittedModel | None
    accuracy: Estimate | None
    remark: Remark | None = None
    is_promoted: bool = False


def train(context: RoundContext, inputs: RoundInputs, number: int) -> tuple[FittedModel, Fit] | None:
    """Fits the learner of version `number`, and returns the model with its fit. Returns None during a rollback, if the
    fit would be the same as the serving learner's, or if nothing can be fitted (see `fit_model`)."""
    pool, labels, schema = context.pool, inputs.labels, inputs.schema
    labelled = pool.rows_of(labels.tasks)
    pool.encode_missing(labelled, pool.at_once)
    # after an import of many labels, the other labelled tasks are fitted on when they are encoded
    rows = labelled[pool.encoded[labelled]]
    priors = distillation.load_priors(
        context.store, inputs.project_row, inputs.options.learner, pool.space, schema.control
    )
    snapshot = TrainingSnapshot(
        plugin=inputs.options.learner,
        space=pool.space,
        labels=schema.control.labels,
        multiple=schema.control.multiple,
        tasks=pool.tasks[rows],
        texts=pool.keys_of(rows),
        targets=labels.targets[np.isin(labels.tasks, pool.tasks[rows], assume_unique=True)],
        prior=priors.name,
    )
    serving = inputs.serving
    if inputs.project_row.pinned is not None or (serving is not None and serving.snapshot.gives_same_fit(snapshot)):
        return None
    selects_prior = pool.is_not_generated(snapshot.tasks) & ~priors.is_distilled(snapshot.texts)
    model, fit = fitted_model.fit_model(snapshot, pool.vectors_at(rows), serving, number, priors.tensors, selects_prior)
    return None if model is None or fit is None else (model, fit)


def promote(context: RoundContext, inputs: RoundInputs, candidate: tuple[FittedModel, Fit] | None) -> Promotion:
    """Decides which learner serves in the new version: the candidate, or the learner that serves already."""
    if candidate is None:
        if len(inputs.labels.tasks) == 0 and inputs.project_row.pinned is None:
            return Promotion(None, None, Remark("no labels left") if inputs.serving else None)
        return Promotion(inputs.serving, _stored_accuracy(context, inputs))
    model, fit = candidate
    snapshot = model.snapshot
    audited = np.array(context.store.versions.audited(context.project), np.int64)
    is_real = context.pool.is_not_generated(snapshot.tasks)
    fit, tasks, targets = fit.take(is_real), snapshot.tasks[is_real], snapshot.targets[is_real]
    decision = decide_promotion(fit, targets, snapshot.multiple, np.isin(tasks, audited))
    counts = {name: value for name, value in asdict(decision).items() if name != "promote"}
    if not decision.promote:
        return Promotion(inputs.serving, _stored_accuracy(context, inputs), Remark("candidate rejected", counts))
    remark = Remark("candidate promoted", counts) if decision.compared else Remark("first learner")
    accuracy = audit_sample.estimate_accuracy(fit.held_out, targets, tasks, audited, snapshot.multiple)
    return Promotion(model, accuracy, remark, is_promoted=True)


def _stored_accuracy(context: RoundContext, inputs: RoundInputs) -> Estimate | None:
    """The accuracy of the serving learner, as stored with the version that fitted the learner: all versions that the
    learner serves have the same accuracy."""
    fitting_version = context.store.versions.get(context.project, inputs.serving.number) if inputs.serving else None
    version = fitting_version or inputs.serving_version
    return version.accuracy if version else None
