"""Words the outcome of a rollback."""

from __future__ import annotations

from ml_backend.core.types import ModelVersion


def rollback_sentence(project: int, held: ModelVersion | None) -> str:
    """Says what will happen after `roll_back`, which returned the `held` version."""
    if held is None:
        return "learning goes on with all labels"
    return (
        f"the learner of {held.name} serves again, under a new version's name, and is held until "
        f"`apprentice rollback --project {project} --to latest`"
    )
