"""Returns a project to an earlier learner, and ends such a rollback."""

from __future__ import annotations

from ml_backend.core.exceptions import UnknownVersionError
from ml_backend.core.types import ModelVersion
from ml_backend.storage import Store

LATEST = "latest"


def roll_back(store: Store, project: int, to: str | None = None) -> ModelVersion | None:
    """Holds the project at the learner of an earlier version, or ends a rollback; returns that version, None at the end
    of a rollback.

    `to` is a version's name or number, `latest` to end a rollback, or None for the learner before the serving one. A
    worker publishes the queue again at once. During the rollback, annotations are stored but no learner is fitted on
    them. Raises UnknownVersionError if there is no such learner.
    """
    project_row = store.projects.get(project)
    if project_row is None or not project_row.is_connected:
        raise UnknownVersionError(f"Project {project} is not connected: run `apprentice connect --project {project}`")
    version = None if to == LATEST else _find_version(store, project, to)
    store.projects.pin(project, version.number if version else None)
    store.jobs.request(project, retry=True)
    return version


def _find_version(store: Store, project: int, to: str | None) -> ModelVersion:
    learners = store.versions.learners(project)
    if to is None:
        active = store.versions.active(project)
        earlier = [number for number in learners if active and active.learner and number < active.learner]
        if not earlier:
            raise UnknownVersionError(f"Project {project} has no earlier learner to go back to")
        to = str(earlier[0])
    number = to.removeprefix("apprentice-").split("-")[0]
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    version = store.versions.named(project, to) or (store.versions.get(project, int(number)) if is_number else None)
    if version is None or version.learner not in learners:
        available = ", ".join(map(str, learners)) or "none"
        raise UnknownVersionError(
            f"Project {project} has no learner of version {to!r}. Versions whose learner is kept: {available}"
        )
    return version
