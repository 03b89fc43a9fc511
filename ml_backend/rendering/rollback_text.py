"""Words the outcome of a rollback."""

from __future__ import annotations

from ml_backend.core.types import ModelVersion
from ml_backend.rendering.formatting import named_control_option


def rollback_sentence(project: int, held: ModelVersion | None, control: str = "") -> str:
    """Says what will happen after `roll_back` of a control ("": all controls), which returned the `held` version."""
    of_control = f" of {control}" if control else ""
    if held is None:
        return f"learning{of_control} goes on with all labels"
    return (
        f"the learner{of_control} of {held.name} serves again, under a new version's name, and is held until "
        f"`apprentice rollback --project {project} --to latest{named_control_option(control)}`"
    )
