"""The models that serve before a round: those of the active version, and those that a rollback holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import ModelVersion, Remark
from ml_backend.model import project_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import ProjectModel, is_of_kind, models_of
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
    """Loads for each control its model in the `held` version, else in the `active` one. If several versions are needed,
    but the artifact of the active one holds the same models, loads no other.

    space  the vector space in which the models must have been fitted, see `project_model.load_best`
    """
    versions = {control.name: held.get(control.name, active) for control in schema.controls}
    distinct = {version.number: version for version in versions.values() if version is not None}
    if len(distinct) > 1 and active is not None and _serves(active, held):
        of_active = load_serving_models(store, schema, active, {}, space)
        if not of_active.problems:
            return of_active
    loaded = {number: project_model.load_best(store, version, space) for number, version in distinct.items()}
    models: dict[str, FittedModel] = {}
    artifacts: set[int] = set()
    for control in schema.controls:
        version = versions[control.name]
        of_version = loaded[version.number][0] if version else None
        model = models_of(of_version).get(control.name)
        if of_version is not None and model is not None and is_of_kind(model, control):
            models[control.name] = model
            artifacts.add(of_version.number)
    problems = tuple(problem for _, problem in loaded.values() if problem is not None)
    if not models:
        return ServingModels(None, True, problems)
    return ServingModels(ProjectModel(max(artifacts), models), len(artifacts) == 1, problems)


def _serves(active: ModelVersion, held: Mapping[str, ModelVersion]) -> bool:
    """Whether the learners of the held versions serve in the active one, too."""
    return all(active.learner_of(control) == version.learner_of(control) for control, version in held.items())
