"""Going back to an earlier learner, and forward again."""

from __future__ import annotations

from ml_backend.core.exceptions import UnknownVersionError
from ml_backend.core.types import ModelVersion
from ml_backend.storage import Store

LATEST = "latest"


def roll_back(store: Store, project: int, to: str | None = None) -> str:
    """Holds the project at an earlier version's learner, or lets it learn again; returns what will happen.

    `to`: a version's name or number, `latest` to end a rollback, None for the learner before the serving one. The queue
    is published again at once by a worker. Until the rollback is ended, annotations are kept but nothing new is learnt
    from them. Raises UnknownVersionError if there is no such learner.
    """
    record = store.projects.get(project)
    if record is None or not record.is_connected:
        raise UnknownVersionError(f"Project {project} is not connected: run `apprentice connect --project {project}`")
    if to == LATEST:
        store.projects.pin(project, None)
        said = "learning goes on with all labels"
    else:
        chosen = _find(store, project, to)
        store.projects.pin(project, chosen.number)
        said = (
            f"the learner of {chosen.name} serves again, under a new version's name, and is held until "
            f"`apprentice rollback --project {project} --to latest`"
        )
    store.jobs.request(project, retry=True)
    return said


def _find(store: Store, project: int, to: str | None) -> ModelVersion:
    kept = store.versions.learners(project)
    if to is None:
        active = store.versions.active(project)
        earlier = [number for number in kept if active and active.learner and number < active.learner]
        if not earlier:
            raise UnknownVersionError(f"Project {project} has no earlier learner to go back to")
        to = str(earlier[0])
    number = to.removeprefix("apprentice-").split("-")[0]
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    found = store.versions.named(project, to) or (store.versions.get(project, int(number)) if is_number else None)
    if found is None or found.learner not in kept:
        known = ", ".join(str(each) for each in kept) or "none"
        raise UnknownVersionError(f"Project {project} has no learner of version {to!r}; kept are: {known}")
    return found
