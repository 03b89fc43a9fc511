"""Replaces the settings of a project that do not apply to its tasks or to its labels."""

from __future__ import annotations

import numpy as np

from ml_backend.core import registry
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings, TaskForm
from ml_backend.core.types import Remark
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.pool_predictions import needs_draft_failures

STRATEGY_SETTINGS = ("acquisition", "teacher_acquisition")
"""The settings that name a query strategy."""


def applicable_options(
    options: ProjectSettings, schema: ProjectSchema, form: TaskForm
) -> tuple[ProjectSettings, tuple[Remark, ...]]:
    """The options that apply, with defaults for tasks of this `form`, and a remark on each that is replaced: a query
    strategy, also that of the teacher, that needs class probabilities, or texts that annotators write, by the default
    strategy; a cost in words, unless tasks are texts."""
    remarks = []
    options, defaults = options.with_form_defaults(form), ProjectSettings().with_form_defaults(form)
    for setting in STRATEGY_SETTINGS:
        strategy, default = getattr(options, setting), getattr(defaults, setting)
        if without := controls_without_probabilities(options, schema, strategy):
            values = {"setting": setting, "acquisition": strategy, "controls": without, "default": default}
            remarks.append(Remark("acquisition not applicable", values))
            options = options.model_copy(update={setting: default})
        elif lacks_texts(options, schema, strategy):
            values = {"setting": setting, "acquisition": strategy, "default": default}
            remarks.append(Remark("acquisition of texts", values))
            options = options.model_copy(update={setting: default})
    if options.cost == "words" and not schema.input.text_field:
        remarks.append(Remark("cost not applicable"))
        options = options.model_copy(update={"cost": "sentences"})
    return options, tuple(remarks)


def controls_without_probabilities(options: ProjectSettings, schema: ProjectSchema, strategy: str) -> list[str]:
    """The names of the controls that count in the queue and have no class probabilities, if a query strategy needs
    them; else none."""
    if not getattr(registry.acquisition(strategy), "needs_class_probabilities", False):
        return []
    counted = [control for control in schema.controls if options.control_weight(control.name) > 0]
    return [control.name for control in counted if not _has_class_probabilities(control)]


def lacks_texts(options: ProjectSettings, schema: ProjectSchema, strategy: str) -> bool:
    """Whether a query strategy needs texts that annotators write, and no control that counts in the queue has them."""
    counted = [control for control in schema.controls if options.control_weight(control.name) > 0]
    return needs_draft_failures(strategy) and not any(kind_of(control).writes_texts for control in counted)


def _has_class_probabilities(control: ControlSchema) -> bool:
    """Whether the predictions for a control have gradient residuals, see `Predictions`."""
    of_kind = kind_of(control)
    predicted = of_kind.without_learner(control, of_kind.as_targets(control, []), 1)
    return of_kind.predictions(control, predicted).gradient_residuals(np.zeros(1, np.int64)) is not None
