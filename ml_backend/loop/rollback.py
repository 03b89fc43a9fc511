"""Returns a project, or one of its controls, to an earlier learner, and ends such a rollback."""

from __future__ import annotations

from ml_backend.core.exceptions import ApprenticeError, UnknownVersionError
from ml_backend.core.types import ModelVersion
from ml_backend.label_studio.label_config import read_schema
from ml_backend.storage import ProjectRow, Store

LATEST = "latest"


def roll_back(store: Store, project: int, to: str | None = None, control: str = "") -> ModelVersion | None:
    """Holds the learners of a project at those of an earlier version, or ends a rollback; returns that version, None at
    the end of a rollback.

    to       a version's name or number, `latest` to end a rollback, or None for the learner before the serving one
    control  the control whose learner is held, or whose rollback ends; "" for all controls. The other controls go on
             learning, or stay held by an earlier rollback

    A worker publishes the queue again at once. While a learner is held, annotations are stored but no learner of its
    control is fitted on them. Raises UnknownVersionError if there is no such learner or control.
    """
    project_row = store.projects.get(project)
    if project_row is None or not project_row.is_connected:
        raise UnknownVersionError(f"Project {project} is not connected: run `apprentice connect --project {project}`")
    if control:
        schema = read_schema(project_row.label_config, project_row.choices)
        try:
            schema.selected_controls(control)
        except ApprenticeError as error:
            raise UnknownVersionError(str(error)) from None
    version = None if to == LATEST else _find_version(store, project, to, control)
    if version is None:
        store.projects.unpin(project, [control] if control else None)
    else:
        controls = [control] if control else _controls_of(version, project_row)
        store.projects.pin(project, dict.fromkeys(controls, version.number))
    store.jobs.request(project, retry=True)
    return version


def _controls_of(version: ModelVersion, project_row: ProjectRow) -> list[str]:
    """The learnt controls of a project that were learnt in a version. Raises UnknownVersionError if the version has
    learners of other controls only."""
    schema = read_schema(project_row.label_config, project_row.choices)
    controls = [control.name for control in schema.controls if control.name in version.controls]
    if all(version.controls[control].learner is None for control in controls):
        raise UnknownVersionError(
            f"The learners of version {version.number} of project {project_row.id} are of controls that have been "
            "renamed or removed since"
        )
    return controls


def _learner(version: ModelVersion | None, control: str) -> int | None:
    """The number of the version for which the learner of a control in a version was fitted; for "", of the version
    whose artifact has the learners of all controls. None without a learner."""
    if version is None:
        return None
    return version.learner_of(control) if control else version.learner


def _find_version(store: Store, project: int, to: str | None, control: str) -> ModelVersion:
    """The version to go back to, with a learner of `control`, or, for "", with a learner of any control."""
    stored = set(store.versions.learners(project))
    of_control = f" of the control {control!r}" if control else ""
    candidates = {
        version.number: version
        for version in store.versions.all(project)
        if version.number in stored and _learner(version, control) is not None
    }
    if to is None:
        serving = _learner(store.versions.active(project), control) or 0
        learners = [(_learner(version, control) or 0, number) for number, version in candidates.items()]
        earlier = [(learner, number) for learner, number in learners if learner < serving]
        if not earlier:
            raise UnknownVersionError(f"Project {project} has no earlier learner{of_control} to go back to")
        latest_learner, _ = max(earlier)
        return candidates[min(number for learner, number in earlier if learner == latest_learner)]
    number = to.removeprefix("apprentice-").split("-")[0]
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    version = store.versions.named(project, to) or (store.versions.get(project, int(number)) if is_number else None)
    if version is None or version.learner not in stored or _learner(version, control) is None:
        available = ", ".join(map(str, candidates)) or "none"
        raise UnknownVersionError(
            f"Project {project} has no learner{of_control} of version {to!r}. "
            f"Versions whose learner is kept: {available}"
        )
    return version
