"""A snapshot of a project, taken by a worker for the thread that asks the project's teacher."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core.ports import Encoder
from ml_backend.core.settings import ProjectSettings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.applicable_options import applicable_options
from ml_backend.pool import feature_space
from ml_backend.pool.pool_snapshot import PoolSnapshot
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.client import TeacherClient
from ml_backend.teacher.loaded_project import LoadedProject


@dataclass(frozen=True, slots=True)
class ProjectSnapshot(LoadedProject):
    """The input of the teacher's thread from one project.

    teacher_client  the client of the project's teacher, None without a teacher that can be asked
    change_marker   equal in two snapshots if nothing has changed that the teacher's thread acts on
    """

    pool: PoolSnapshot
    teacher_client: TeacherClient | None
    change_marker: tuple[object, ...]

    @property
    def teacher(self) -> str:
        return self.teacher_client.teacher if self.teacher_client else ""


def take_snapshot(
    pool: ProjectPool,
    project_row: ProjectRow,
    options: ProjectSettings,
    teacher_client: TeacherClient | None,
    change_marker: tuple[object, ...],
    encoder: Encoder,
) -> ProjectSnapshot:
    """Takes a snapshot in a time that does not depend on the size of the vectors."""
    schema = read_schema(project_row.label_config, project_row.choices)
    options, _ = applicable_options(options, schema, feature_space.task_form(encoder))
    return ProjectSnapshot(
        project_row, options, schema, schema.controls[0], pool.snapshot(), encoder, teacher_client, change_marker
    )


def is_still_served(store: Store, project_row: ProjectRow) -> bool:
    """Whether the project of a row that was read earlier still exists and is served: another project may have its id
    by now."""
    current = store.projects.get(project_row.id)
    return current is not None and bool(current.published) and current.made_at == project_row.made_at
