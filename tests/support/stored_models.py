"""Stores and loads the learner of a project with one control."""

from __future__ import annotations

from schemas import by_control, first_of, only

from ml_backend.core.types import ModelVersion, Remark
from ml_backend.model import project_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import ProjectModel, models_of
from ml_backend.storage import Store


def save_learner(store: Store, project: int, model: FittedModel) -> tuple[str, str]:
    return project_model.save(store, project, ProjectModel(model.number, by_control(model)))


def load_learner(store: Store, project: int, number: int) -> FittedModel:
    return only(project_model.load(store, project, number).by_control)


def load_best_learner(
    store: Store, version: ModelVersion | None, space: str
) -> tuple[FittedModel | None, Remark | None]:
    model, problem = project_model.load_best(store, version, space)
    return first_of(models_of(model)), problem
