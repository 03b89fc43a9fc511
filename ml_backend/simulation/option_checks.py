"""Refuses options of a simulation that do not apply to its tasks or to its labels."""

from __future__ import annotations

from collections.abc import Sequence

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.loop.applicable_options import controls_without_probabilities
from ml_backend.simulation.effort import SPANS, WORDS, counts_regions


def check_options(axis: str, options: ProjectSettings, schema: ProjectSchema, strategies: Sequence[str]) -> None:
    """Raises ApprenticeError if nothing is counted on the `axis` of effort ("": the default), if words are the cost of
    tasks that are no texts, or if a strategy needs class probabilities that a control does not have."""
    if not schema.input.text_field and WORDS in (axis, options.cost):
        remedy = "leave out --x" if axis == WORDS else "leave `cost` out of APPRENTICE_DEFAULTS"
        raise ApprenticeError(f"Words are counted in texts only, and the tasks are records or pairs of texts: {remedy}")
    if axis == SPANS and not any(counts_regions(control) for control in schema.controls):
        raise ApprenticeError("No control marks spans: leave out --x, or take --x words")
    for strategy in strategies:
        if without := controls_without_probabilities(options, schema, strategy):
            raise ApprenticeError(
                f"The strategy {strategy} needs class probabilities, which the predictions for {', '.join(without)} do "
                "not have: choose another, for example cluster-uncertainty or entropy"
            )
