"""The fitted models of a project's controls, and the artifact that holds them, so that a version can be restored."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ml_backend.core.arrays import Tensors
from ml_backend.core.exceptions import ApprenticeError, ArtifactError, UnknownPluginError
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import DraftRule, ModelVersion, Remark
from ml_backend.kinds.lookup import kind, kind_of
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.storage import Store

_HEADER, _TASKS, _TEXTS = "snapshot.header", "snapshot.tasks", "snapshot.texts"
_CONTROLS = "controls"
"""Name of the tensor with the names of the controls. The tensors of each model have the prefix `_prefix`."""


@dataclass(frozen=True, slots=True)
class ProjectModel:
    """The fitted models of a project.

    number      the number of the version whose artifact holds the models
    by_control  the model of each control that has one, by the name of the control
    problems    why the models of other controls in the artifact cannot be used
    """

    number: int
    by_control: Mapping[str, FittedModel]
    problems: tuple[str, ...] = ()

    def without(self, controls: Collection[str]) -> ProjectModel:
        """The models of all other controls."""
        models = {name: model for name, model in self.by_control.items() if name not in controls}
        return replace(self, by_control=models)

    def without_training_data(self) -> ProjectModel:
        """The models as `FittedModel.without_training_data` makes them."""
        models = {control: model.without_training_data() for control, model in self.by_control.items()}
        return replace(self, by_control=models)


def models_of(project_model: ProjectModel | None) -> Mapping[str, FittedModel]:
    """The model of each control that has one; none without a project model."""
    return {} if project_model is None else project_model.by_control


def is_of_kind(model: FittedModel, control: ControlSchema) -> bool:
    """Whether a model gives predictions of the control's kind of label: a control may have got another tag since."""
    return model.snapshot.control.kind == control.kind


def save(store: Store, project: int, project_model: ProjectModel) -> tuple[str, str]:
    """Writes the artifact of the models; returns its file name and checksum. Raises StoreError."""
    controls = list(project_model.by_control)
    tensors: Tensors = {_CONTROLS: _as_bytes(controls)}
    for index, control in enumerate(controls):
        of_model = _model_tensors(project_model.by_control[control])
        tensors |= {f"{_prefix(index)}{name}": tensor for name, tensor in of_model.items()}
    return store.artifacts.write(project, f"{project_model.number:06d}", tensors)


def load(store: Store, project: int, number: int) -> ProjectModel:
    """Reads the models in the artifact of a version, without those whose kind of label is not installed any more.

    Raises ArtifactError if the artifact is damaged or missing.
    """
    artifact, version = store.versions.artifact(project, number), store.versions.get(project, number)
    if artifact is None or version is None:
        raise ArtifactError(f"version {number} of project {project} has no artifact: an older version serves")
    tensors = store.artifacts.read(*artifact)
    if _CONTROLS not in tensors:  # the artifact of an earlier release, which learnt one control
        return ProjectModel(number, {control: _read_model(tensors, number) for control in version.controls})
    controls = json.loads(tensors.pop(_CONTROLS).tobytes())
    models: dict[str, FittedModel] = {}
    problems: list[str] = []
    for index, control in enumerate(controls):
        prefix = _prefix(index)
        of_model = {name.removeprefix(prefix): part for name, part in tensors.items() if name.startswith(prefix)}
        try:
            models[control] = _read_model(of_model, number)
        except UnknownPluginError as error:
            problems.append(f"{control}: {error}")
    return ProjectModel(number, models, tuple(problems))


def load_best(store: Store, version: ModelVersion | None, space: str) -> tuple[ProjectModel | None, Remark | None]:
    """The models that serve in a version and the problem with them, None if there is none.

    If the artifact of these models cannot be read, or they were fitted in another vector space than `space`, the first
    value has the newest older models without such a problem, or is None. Older artifacts, too, may have models of
    controls that no learner serves in the version: these never serve. The second value is a remark for `status`.
    """
    if version is None or version.learner is None:
        return None, None
    problem = None
    older = (number for number in store.versions.learners(version.project) if number < version.learner)
    for number in (version.learner, *older):
        try:
            models = load(store, version.project, number)
        except ApprenticeError as error:
            problem = problem or Remark("learner unreadable", {"problem": str(error)})
            continue
        models = models.without(version.controls_without_learner)
        if models.problems:
            problem = problem or Remark("learner unreadable", {"problem": "; ".join(models.problems)})
        if not models.by_control:
            continue
        other_spaces = {model.snapshot.space for model in models.by_control.values()} - {space}
        if not other_spaces:
            return models, problem
        values = {"version": number, "fitted": min(other_spaces), "now": space}
        problem = problem or Remark("space changed", values)
    return None, problem


def _prefix(index: int) -> str:
    return f"{index}/"


def _as_bytes(document: Any) -> Any:
    return np.frombuffer(json.dumps(document).encode(), np.uint8)


def _model_tensors(model: FittedModel) -> Tensors:
    snapshot = model.snapshot
    control, of_kind = snapshot.control, kind_of(snapshot.control)
    header = {
        "number": model.number, "plugin": snapshot.plugin, "space": snapshot.space, "kind": control.kind,
        "control": of_kind.fit_document(control), "prior": snapshot.prior, "started_from": model.started_from,
        "prior_errors": dict(model.prior_errors), "trust": model.trust, "is_doubted": model.is_doubted,
        "draft_rule": asdict(snapshot.draft_rule), "remark": asdict(model.remark) if model.remark else None,
    }  # fmt: skip
    snapshot_tensors: Tensors = {
        _HEADER: _as_bytes(header),
        _TASKS: snapshot.tasks,
        _TEXTS: np.frombuffer(snapshot.texts, np.uint8),
        **of_kind.pack_targets(control, snapshot.targets),
        **of_kind.pack_predicted(control, model.held_out),
    }
    return {**model.tensors, **snapshot_tensors}


def _read_model(tensors: Tensors, artifact_number: int) -> FittedModel:
    """Reads a model. `artifact_number`: the number of the version that has the artifact"""
    header = json.loads(tensors.pop(_HEADER).tobytes())
    of_kind = kind(header.get("kind", "choices"))
    control = of_kind.fitted_schema(header.get("control", header))  # older artifacts have the properties of choices
    snapshot = TrainingSnapshot(
        plugin=header["plugin"],
        space=header["space"],
        control=control,
        tasks=tensors.pop(_TASKS).astype(np.int64),
        texts=tensors.pop(_TEXTS).tobytes(),
        targets=of_kind.unpack_targets(control, tensors),
        prior=header.get("prior", ""),
        draft_rule=DraftRule(**header.get("draft_rule", {})),
    )
    held_out = of_kind.unpack_predicted(control, tensors)
    fit_results = {
        name: header[name] for name in ("started_from", "prior_errors", "trust", "is_doubted") if name in header
    }
    remark = Remark(**header["remark"]) if header.get("remark") else None
    number = header.get("number", artifact_number)
    return FittedModel(number, snapshot, tensors, held_out, remark=remark, **fit_results)
