"""Refuses options of a simulation that do not apply to its tasks or to its labels."""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.model.applicable_options import controls_without_probabilities, lacks_texts
from ml_backend.simulation.config import SimulationConfig
from ml_backend.simulation.effort import SPANS, WORDS, counts_regions
from ml_backend.simulation.simulated_teacher import TEACH


def check_options(
    config: SimulationConfig, options: ProjectSettings, schema: ProjectSchema, strategies: Sequence[str]
) -> None:
    """Raises ApprenticeError if nothing is counted on the axis of effort, if words are the cost of tasks that are no
    texts, or if a strategy, also that of the teacher, needs class probabilities that a control does not have, or texts
    that annotators write."""
    if not schema.input.text_field and WORDS in (config.x, options.cost):
        remedy = "leave out --x" if config.x == WORDS else "leave `cost` out of APPRENTICE_DEFAULTS"
        raise ApprenticeError(f"Words are counted in texts only, and the tasks are records or pairs of texts: {remedy}")
    if config.x == SPANS and not any(counts_regions(control) for control in schema.controls):
        raise ApprenticeError("No control marks spans: leave out --x, or take --x words")
    for strategy in [*strategies, *([options.teacher_acquisition] if TEACH in config.arms else [])]:
        if without := controls_without_probabilities(options, schema, strategy):
            raise ApprenticeError(
                f"The strategy {strategy} needs class probabilities, which the predictions for {', '.join(without)} do "
                "not have: choose another, for example cluster-uncertainty or entropy"
            )
        if lacks_texts(options, schema, strategy):
            raise ApprenticeError(
                f"The strategy {strategy} ranks the texts that a learner writes, and no control is a text: choose "
                "another, for example cluster-uncertainty or entropy"
            )
