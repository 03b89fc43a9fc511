"""A project's state for a command that runs without a worker, from the store and the cached vectors."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.applicable_options import applicable_options
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.client import Budget, TeacherClient, missing_model_problem
from ml_backend.teacher.loaded_project import LoadedProject


@dataclass(frozen=True, slots=True)
class ProjectContext(LoadedProject):
    """The state of a project at one moment; `reloaded` reads it anew."""

    pool: ProjectPool
    settings: Settings
    store: Store

    def reloaded(self) -> ProjectContext:
        return _load(self.settings, self.store, self.pool, self.project_row.id, self.control.name)

    def teacher_client(self) -> TeacherClient:
        """The client of the project's teacher. Raises ApprenticeError if it has no teacher that can be asked."""
        teacher = registry.teacher(self.options.teacher, self.settings.teacher_options(self.options))
        if teacher is None:
            raise ApprenticeError(
                f"The teacher of project {self.project_row.id} is {self.options.teacher!r}, which can be asked "
                "nothing: set `teacher` and `teacher_model` in the project's extra params, and APPRENTICE_TEACHER_URL. "
                "This command needs the same environment variables as `apprentice serve`"
            )
        if problem := missing_model_problem(self.options, self.project_row.id):
            raise ApprenticeError(problem)
        return TeacherClient(self.store, self.project_row.id, teacher, Budget.of(self.options))


def load_project_context(settings: Settings, store: Store, project: int, control: str = "") -> ProjectContext:
    """Loads the state of a project, with the control of this name or, for "", its first one. Raises ApprenticeError if
    the project is unknown or has had no round, if its label configuration cannot be read, or if it learns no such
    control."""
    project_row = store.projects.get(project) or ProjectRow(project)
    pool = ProjectPool(store, project, feature_space.project_encoder(settings, project_row))
    return _load(settings, store, pool, project, control)


def _load(settings: Settings, store: Store, pool: ProjectPool, project: int, control_name: str) -> ProjectContext:
    project_row = store.projects.get(project)
    schema = (
        read_schema(project_row.label_config, project_row.choices) if project_row and project_row.label_config else None
    )
    if project_row is None or schema is None or not feature_space.has_feature_space(project_row, schema.input):
        raise ApprenticeError(
            f"Project {project} is not known here: run `apprentice connect --project {project}`, and wait for its "
            "first round"
        )
    control, *_ = schema.selected_controls(control_name)
    encoder = feature_space.project_encoder(settings, project_row)
    options, _ = settings.for_project(project_row.extra_params)
    options, _ = applicable_options(options, schema, feature_space.task_form(encoder))
    pool.use_encoder(encoder)
    pool.refresh(project_row.tasks_revision)
    return ProjectContext(project_row, options, schema, control, pool, encoder, settings, store)
