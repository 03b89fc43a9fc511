"""The models that serve before a round: those of the active version, and those that a rollback holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import ModelVersion, Remark
from ml_backend.model import project_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import ProjectModel, models_of
from ml_backend.storage import ProjectRow, Store


@dataclass(frozen=True, slots=True)
class ServingModels:
    """The models that serve.

    model      the models of the controls in the schema, None if there are none
    is_stored  whether the artifact of version `model.number` holds them all. It does not in the first round of a
               rollback of some controls: their models are in the artifacts of other versions
    problems   the problems of the artifacts
    """

    model: ProjectModel | None
    is_stored: bool
    problems: tuple[Remark, ...]


def held_versions(store: Store, project_row: ProjectRow, schema: ProjectSchema) -> dict[str, ModelVersion]:
    """The version whose learner a rollback holds, by control. A rollback of a control that has been renamed or removed
    since does not count."""
    held = {
        control.name: store.versions.get(project_row.id, project_row.pinned[control.name])
        for control in schema.controls
        if control.name in project_row.pinned
    }
    return {control: version for control, version in held.items() if version is not None}


def load_serving_models(
    store: Store, schema: ProjectSchema, active: ModelVersion | None, held: Mapping[str, ModelVersion], space: str
) -> ServingModels:
    """Loads for each control its model in the `held` version, else in the `active` one.

    space  the vector space in which the models must have been fitted, see `project_model.load_best`
    """
    versions = {control.name: held.get(control.name, active) for control in schema.controls}
    distinct = {version.number: version for version in versions.values() if version is not None}
    loaded = {number: project_model.load_best(store, version, space) for number, version in distinct.items()}
    models: dict[str, FittedModel] = {}
    artifacts: set[int] = set()
    for control, version in versions.items():
        of_version = loaded[version.number][0] if version else None
        if of_version is not None and (model := models_of(of_version).get(control)) is not None:
            models[control] = model
            artifacts.add(of_version.number)
    problems = tuple(problem for _, problem in loaded.values() if problem is not None)
    if not models:
        return ServingModels(None, True, problems)
    if len(artifacts) > 1 and active is not None and active.learner is not None and _has_models(active, models):
        return ServingModels(ProjectModel(active.learner, models), True, problems)
    return ServingModels(ProjectModel(max(artifacts), models), len(artifacts) == 1, problems)


def _has_models(version: ModelVersion, models: Mapping[str, FittedModel]) -> bool:
    """Whether these models serve in a version."""
    learners = {name: control.learner for name, control in version.controls.items() if control.learner is not None}
    return learners == {name: model.number for name, model in models.items()}
