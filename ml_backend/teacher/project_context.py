"""A project as a command sees it that works without a worker: from the store and its cached vectors."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher.client import Budget, TeacherClient, without_model


@dataclass(frozen=True, slots=True)
class ProjectContext:
    """What a project was like at one moment; `again` looks anew."""

    settings: Settings
    store: Store
    encoder: Encoder
    pool: ProjectPool
    record: ProjectRecord
    options: ProjectSettings
    schema: TaskSchema

    def again(self) -> ProjectContext:
        return _look(self.settings, self.store, self.pool, self.record.id)

    @property
    def records(self) -> RecordEncoder | None:
        """The encoder, if it is one of records."""
        return self.encoder if isinstance(self.encoder, RecordEncoder) else None

    def desk(self) -> TeacherClient:
        """Where the project's teacher is asked. Raises ApprenticeError if it has none that can be asked."""
        teacher = registry.teacher(self.options.teacher, self.settings.teacher_options(self.options))
        if teacher is None:
            raise ApprenticeError(
                f"The teacher of project {self.record.id} is {self.options.teacher!r}, which can be asked nothing: set "
                "`teacher` and `teacher_model` in its extra params, and APPRENTICE_TEACHER_URL; what "
                "`apprentice serve` has from its environment, this command needs as well"
            )
        if problem := without_model(self.options, self.record.id):
            raise ApprenticeError(problem)
        return TeacherClient(self.store, self.record.id, teacher, Budget.of(self.options))


def visit(settings: Settings, store: Store, project: int) -> ProjectContext:
    """Raises ApprenticeError if this backend has never heard of the project, or cannot read its configuration."""
    known = store.projects.get(project) or ProjectRecord(project)
    pool = ProjectPool(store, project, feature_space.encoder_of(settings, known))
    return _look(settings, store, pool, project)


def _look(settings: Settings, store: Store, pool: ProjectPool, project: int) -> ProjectContext:
    record = store.projects.get(project)
    schema = read_schema(record.label_config, record.choices) if record and record.label_config else None
    if record is None or schema is None or not feature_space.is_ready(record, schema):
        raise ApprenticeError(
            f"Project {project} is not known here: run `apprentice connect --project {project}`, and wait for its "
            "first round"
        )
    encoder = feature_space.encoder_of(settings, record)
    options = settings.for_project(record.extra_params)[0].of_form(feature_space.form(encoder))
    pool.use(encoder)
    pool.refresh(record.tasks_revision)
    return ProjectContext(settings, store, encoder, pool, record, options, schema)
