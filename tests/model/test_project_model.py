"""The models of several controls in one artifact."""

from __future__ import annotations

import numpy as np
import pytest
from schemas import fitted_choices

from ml_backend.core.types import ControlVersion, ModelVersion, Remark
from ml_backend.model import project_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.model.project_model import ProjectModel
from ml_backend.storage import Store

LABELS = {"topic": ("fruit", "metal", "animal"), "mood / how?": ("good", "bad")}


def fitted(control: str, number: int = 1, space: str = "fake", multiple: bool = False) -> FittedModel:
    c = len(LABELS[control])
    targets = np.eye(c, dtype=np.float32)
    fitted_control = fitted_choices(LABELS[control], multiple=multiple)
    snapshot = TrainingSnapshot("logistic", space, fitted_control, np.arange(1, c + 1), bytes(16 * c), targets)
    held_out = np.full((c, c), 0.5, np.float32)
    tensors = {"weight": targets * number, "control": np.array([c])}
    return FittedModel(number, snapshot, tensors, held_out, "cues", remark=Remark("note", {"number": number}))


def version_of(number: int, learner: int | None, **learners: int | None) -> ModelVersion:
    controls = {name: ControlVersion(fitted_for, 3, None) for name, fitted_for in learners.items()}
    return ModelVersion(5, number, f"v{number}", learner, 3, controls, 0.0)


def test_all_models_come_back_with_the_version_that_each_was_fitted_for(store: Store) -> None:
    models = {"topic": fitted("topic", 4), "mood / how?": fitted("mood / how?", 7, multiple=True)}
    artifact = project_model.save(store, 5, ProjectModel(7, models))
    store.versions.add(version_of(7, 7), artifact, rows=1)
    loaded = project_model.load(store, 5, 7)
    assert list(loaded.by_control) == list(models) and loaded.number == 7
    for control, model in models.items():
        read = loaded.by_control[control]
        assert (read.number, read.started_from, read.remark) == (model.number, "cues", model.remark)
        assert read.snapshot.gives_same_fit(model.snapshot)
        assert read.tensors.keys() == model.tensors.keys()
        assert all(np.array_equal(read.tensors[name], tensor) for name, tensor in model.tensors.items())


def test_a_control_that_has_lost_its_labels_is_not_served_by_its_learner_in_the_artifact(store: Store) -> None:
    models = {"topic": fitted("topic"), "mood / how?": fitted("mood / how?")}
    store.versions.add(version_of(1, 1), project_model.save(store, 5, ProjectModel(1, models)), rows=1)
    version = version_of(2, 1, **{"topic": 1, "mood / how?": None})
    loaded, problem = project_model.load_best(store, version, "fake")
    assert loaded is not None and problem is None
    assert list(loaded.by_control) == ["topic"]


def test_a_control_that_has_lost_its_labels_is_not_served_by_a_learner_in_an_older_artifact(store: Store) -> None:
    both = {"topic": fitted("topic"), "mood / how?": fitted("mood / how?")}
    store.versions.add(version_of(1, 1), project_model.save(store, 5, ProjectModel(1, both)), rows=1)
    only_mood = {"mood / how?": fitted("mood / how?", 2)}
    store.versions.add(version_of(2, 2), project_model.save(store, 5, ProjectModel(2, only_mood)), rows=1)
    version = version_of(3, 3, **{"topic": 3, "mood / how?": None})
    store.versions.add(version, ("missing", "0" * 64), rows=1)
    loaded, problem = project_model.load_best(store, version, "fake")
    assert loaded is not None and problem is not None and problem.code == "learner unreadable"
    assert (loaded.number, list(loaded.by_control)) == (1, ["topic"])


@pytest.mark.parametrize("other", ["topic", "mood / how?"])
def test_an_artifact_with_a_model_of_another_space_is_not_served(store: Store, other: str) -> None:
    models = {control: fitted(control, space="old" if control == other else "fake") for control in LABELS}
    store.versions.add(version_of(1, 1), project_model.save(store, 5, ProjectModel(1, models)), rows=1)
    loaded, problem = project_model.load_best(store, version_of(1, 1), "fake")
    assert loaded is None and problem is not None and problem.values["fitted"] == "old"
