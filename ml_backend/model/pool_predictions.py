"""Adds the predictions of a project's learners to the pool that a query strategy selects from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Pool
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.texts import Texts
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.combined_predictions import CombinedPredictions
from ml_backend.model.fitted_model import FittedModel


def with_predictions(
    pool: Pool,
    models: Mapping[str, FittedModel],
    controls: Sequence[ControlSchema],
    options: ProjectSettings,
    tasks: Ints,
    texts: Texts | None = None,
) -> Pool:
    """The pool with the predictions of the learners that count in the queue (see `_counted`), and with their held-out
    errors on those of the `tasks` (n,), ascending, that they were fitted on: the weighted mean over the controls in
    which a task has a label. The pool also has the probabilities that an attribute fails in the drafts, the highest of
    several controls, if the query strategy needs them. Without such a learner, the same pool. `texts`: of the tasks,
    needed by a `TextLearner`"""
    counted = _counted(models, controls, options)
    if not counted:
        return pool
    predicted = [(control, model.predict(control, pool.vectors, texts)) for control, model, _ in counted]
    predictions = [kind_of(control).predictions(control, rows) for control, rows in predicted]
    failures = [kind_of(control).draft_failures(control, rows) for control, rows in predicted]
    weights = np.array([weight for _, _, weight in counted], np.float32)
    errors = _mean_errors([model.errors(tasks, control) for control, model, _ in counted], weights)
    combined = predictions[0] if len(predictions) == 1 else CombinedPredictions(predictions, weights)
    judged = [rows for rows in failures if rows is not None]
    return replace(
        pool,
        predictions=combined,
        errors=errors,
        draft_failures=np.max(judged, axis=0) if judged and needs_draft_failures(options.acquisition) else None,
        inclusive_by=options.inclusive_by,
    )


def needs_draft_failures(strategy: str) -> bool:
    """Whether a query strategy ranks by `Pool.draft_failures`."""
    return bool(getattr(registry.acquisition(strategy), "needs_draft_failures", False))


def _counted(
    models: Mapping[str, FittedModel], controls: Sequence[ControlSchema], options: ProjectSettings
) -> list[tuple[ControlSchema, FittedModel, float]]:
    """The controls that count in the queue, with their learners and weights: those with a weight above 0. One of
    several whose labels cannot be predicted (`Kind.is_predictable`) counts only if a setting weighs it."""
    weighted = [
        (control, models[control.name], options.control_weight(control.name))
        for control in controls
        if control.name in models and options.control_weight(control.name) > 0
    ]
    predictable = [
        entry for entry in weighted if entry[0].name in options.control_weights or _is_predictable(*entry[:2])
    ]
    return predictable or weighted


def _is_predictable(control: ControlSchema, model: FittedModel) -> bool:
    return kind_of(control).is_predictable(control, model.held_out, model.snapshot.targets)


def _mean_errors(errors: Sequence[Floats], weights: Floats) -> Floats:
    """(n,) the weighted mean of p errors (n,), without those that are NaN; NaN where all are. A single one stays as it
    is."""
    if len(errors) == 1:
        return errors[0]
    of_controls = np.stack(errors)
    weight_of_row = np.where(np.isnan(of_controls), 0.0, weights[:, None])
    total, sums = weight_of_row.sum(axis=0), (weight_of_row * np.nan_to_num(of_controls)).sum(axis=0)
    mean = np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
    return np.asarray(mean, np.float32)
