"""The stages "fit" and "assess": fits a candidate for each control, and decides whether it replaces the serving
learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Fit, Ints, Rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import ControlVersion, Estimate, Remark
from ml_backend.evaluation import audit_sample
from ml_backend.evaluation.promotion_gate import decide_promotion
from ml_backend.kinds.lookup import fitted_schema, kind_of, learner_name
from ml_backend.loop.context import RoundContext, RoundInputs
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.project_model import ProjectModel, models_of
from ml_backend.model.training_sample import pool_texts, random_rows
from ml_backend.pool import feature_space
from ml_backend.teacher import distillation

Candidate = tuple[FittedModel, Fit]
MAX_TASKS_OF_EMBEDDED_SCORE = 500
"""Most annotated tasks on which the embedded teacher is compared with the learner."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """The result of the promotion gate for one control.

    learner      the learner of the control in the new version, None before there is one
    accuracy     the accuracy of the learner, None if it is unknown
    remark       why the learner serves, None if there is nothing to say
    is_promoted  whether the learner is the candidate of this round
    """

    learner: FittedModel | None
    accuracy: Estimate | None
    remark: Remark | None = None
    is_promoted: bool = False


@dataclass(frozen=True, slots=True)
class RoundModels:
    """The learners of a new version.

    model     the learners of all controls, None before there is one
    is_new    whether no artifact holds `model` yet: it has a learner of this round, or those of several versions
    controls  what is stored of each control with the version
    remarks   why the learners serve, and what users should know about them
    """

    model: ProjectModel | None
    is_new: bool
    controls: Mapping[str, ControlVersion]
    remarks: tuple[Remark, ...]


def train(context: RoundContext, inputs: RoundInputs, number: int) -> dict[str, Candidate]:
    """Fits the learners of version `number`, and returns the model with its fit for each control, by its name. A
    control has no candidate while a rollback holds its learner, while annotators leave the control empty, if the fit
    would be the same as the serving learner's, or if nothing can be fitted (see `fit_model`)."""
    pool = context.pool
    labelled = pool.rows_of(inputs.labelled)
    pool.encode_missing(labelled, pool.at_once)
    unfitted = inputs.held_versions.keys() | inputs.rarely_labelled.keys()
    fitted = (control for control in inputs.schema.controls if control.name not in unfitted)
    candidates = ((control.name, _fit(context, inputs, control, number)) for control in fitted)
    return {name: candidate for name, candidate in candidates if candidate is not None}


def _fit(context: RoundContext, inputs: RoundInputs, control: ControlSchema, number: int) -> Candidate | None:
    pool, labels = context.pool, inputs.labels[control.name]
    labelled = pool.rows_of(labels.tasks)
    # after an import of many labels, the other labelled tasks are fitted on when they are encoded
    rows = labelled[pool.encoded[labelled]]
    is_learnable = kind_of(control).learnable_rows(control, pool.vectors_at(rows))
    rows = rows if is_learnable is None else rows[is_learnable]
    plugin = learner_name(control, inputs.options.learner)
    priors = distillation.load_priors(context.store, inputs.project_row, plugin, pool.space, control)
    snapshot = TrainingSnapshot(
        plugin=plugin,
        space=pool.space,
        control=fitted_schema(control),
        tasks=pool.tasks[rows],
        texts=pool.keys_of(rows),
        targets=labels.targets[np.isin(labels.tasks, pool.tasks[rows], assume_unique=True)],
        prior=priors.name,
        draft_rule=fitted_model.draft_rule(control, inputs.options),
    )
    serving = models_of(inputs.serving).get(control.name)
    if serving is not None and serving.snapshot.gives_same_fit(snapshot):
        return None
    selects_prior = pool.is_not_generated(snapshot.tasks) & ~priors.is_distilled(snapshot.texts)
    texts = pool.texts(snapshot.tasks)
    train = snapshot.training_set(pool.vectors_at(rows), texts, priors.tensors, selects_prior)
    train = replace(train, pool_texts=pool_texts(pool))
    model, fit = fitted_model.fit_model(snapshot, train, serving, number)
    return None if model is None or fit is None else (model, fit)


def assess(context: RoundContext, inputs: RoundInputs, candidates: Mapping[str, Candidate], number: int) -> RoundModels:
    """Decides for each control which learner serves in version `number`."""
    audited = np.array(context.store.versions.audited(context.project), np.int64)
    promotions = {
        control.name: promote(context, inputs, control, candidates.get(control.name), audited)
        for control in inputs.schema.controls
    }
    learners = {name: promotion.learner for name, promotion in promotions.items() if promotion.learner}
    is_new = any(promotion.is_promoted for promotion in promotions.values()) or not inputs.serving_stored
    kept = inputs.serving.number if inputs.serving else None
    artifact_number = number if is_new else kept
    return RoundModels(
        model=ProjectModel(artifact_number, learners) if learners and artifact_number is not None else None,
        is_new=is_new,
        controls={
            name: ControlVersion(
                learner=promotion.learner.number if promotion.learner else None,
                labelled=len(inputs.labels[name].tasks),
                accuracy=promotion.accuracy,
                is_rarely_labelled=name in inputs.rarely_labelled,
            )
            for name, promotion in promotions.items()
        },
        remarks=tuple(
            of_control(remark, name, inputs)
            for name, promotion in promotions.items()
            for remark in (promotion.remark, promotion.learner.remark if promotion.learner else None)
            if remark
        ),
    )


def of_control(remark: Remark, control: str, inputs: RoundInputs) -> Remark:
    """The remark with the name of its control, if the project has several."""
    if len(inputs.schema.controls) == 1:
        return remark
    return Remark(remark.code, {**remark.values, "control": control})


def promote(
    context: RoundContext, inputs: RoundInputs, control: ControlSchema, candidate: Candidate | None, audited: Ints
) -> Promotion:
    """Decides which learner of a control serves: the candidate, or the learner that serves already. `audited` (m,): the
    tasks of the audit sample"""
    serving = models_of(inputs.serving).get(control.name)
    if control.name in inputs.rarely_labelled and control.name not in inputs.held_versions:
        labelled, annotated = inputs.rarely_labelled[control.name]
        return Promotion(None, None, Remark("rarely labelled", {"labelled": labelled, "annotated": annotated}))
    if candidate is None:
        if len(inputs.labels[control.name].tasks) == 0 and control.name not in inputs.held_versions:
            return Promotion(None, None, Remark("no labels left") if serving else None)
        return Promotion(serving, _stored_accuracy(context, inputs, control.name))
    model, fit = candidate
    snapshot = model.snapshot
    is_real = context.pool.is_not_generated(snapshot.tasks)
    fit, tasks, targets = fit.take(is_real), snapshot.tasks[is_real], snapshot.targets[is_real]
    score = partial(kind_of(control).scores, control)
    scores = score(fit.held_out, targets)
    serving_scores = None if fit.held_out_earlier is None else score(fit.held_out_earlier, targets)
    decision = decide_promotion(scores, serving_scores, np.isin(tasks, audited))
    counts = {name: value for name, value in asdict(decision).items() if name != "promote"}
    if not decision.promote:
        accuracy = _stored_accuracy(context, inputs, control.name)
        return Promotion(serving, accuracy, Remark("candidate rejected", counts))
    remark = Remark("candidate promoted", counts) if decision.compared else Remark("first learner")
    weights = kind_of(control).score_weights(control, fit.held_out, targets)
    accuracy = audit_sample.estimate_accuracy(scores, tasks, audited, weights)
    if (embedded := _embedded_score(context, inputs, control, tasks, targets)) is not None and embedded > scores.mean():
        model = replace(model, is_doubted=True)
        remark = Remark("learner doubted", {"learner": float(scores.mean()), "teacher": embedded, "n": len(tasks)})
    return Promotion(model, accuracy, remark, is_promoted=True)


def _embedded_score(
    context: RoundContext, inputs: RoundInputs, control: ControlSchema, tasks: Ints, targets: Rows
) -> float | None:
    """The mean score of the embedded teacher's drafts for annotated tasks (n,), of many tasks on a sample; None if a
    learner of the control is not doubted, or if the embedded teacher does not draft."""
    of_kind, input_spec = kind_of(control), inputs.schema.input
    if not of_kind.doubts_learner(control) or input_spec.is_record or not len(tasks):
        return None
    sample = random_rows(tasks, MAX_TASKS_OF_EMBEDDED_SCORE)
    drafter = registry.drafter(feature_space.text_encoder(context.settings, input_spec))
    texts = context.store.tasks.texts(context.project, tasks[sample].tolist())
    vectors = np.asarray(context.pool.vectors_at(context.pool.rows_of(tasks[sample])))
    predicted = of_kind.cold_start(control, drafter, texts, vectors)
    return None if predicted is None else float(of_kind.scores(control, predicted, targets[sample]).mean())


def _stored_accuracy(context: RoundContext, inputs: RoundInputs, control: str) -> Estimate | None:
    """The accuracy of the serving learner of a control, as stored with the version that fitted the learner: all
    versions that the learner serves have the same accuracy."""
    serving = models_of(inputs.serving).get(control)
    fitting_version = context.store.versions.get(context.project, serving.number) if serving else None
    version = fitting_version or inputs.held_versions.get(control, inputs.active_version)
    stored = version.controls.get(control) if version else None
    return stored.accuracy if stored else None
