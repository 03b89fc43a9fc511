"""A project as a worker saw it, for a thread of its own that deals with its teacher."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.label_config import read_schema
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher.client import TeacherClient


@dataclass(frozen=True, slots=True)
class ProjectSnapshot:
    """`desk` is None without a teacher that can be asked; `mark` is the same as long as there is nothing new to do."""

    record: ProjectRecord
    options: ProjectSettings
    schema: TaskSchema
    pool: ProjectPool
    desk: TeacherClient | None
    mark: tuple[object, ...]
    encoder: Encoder

    @property
    def records(self) -> RecordEncoder | None:
        """The encoder, if it is one of records."""
        return self.encoder if isinstance(self.encoder, RecordEncoder) else None

    @property
    def teacher(self) -> str:
        return self.desk.teacher if self.desk else ""


def see(
    pool: ProjectPool,
    record: ProjectRecord,
    options: ProjectSettings,
    desk: TeacherClient | None,
    mark: tuple[object, ...],
    encoder: Encoder,
) -> ProjectSnapshot:
    """Takes no time, however large the pool is: its arrays are replaced when the tasks change, and until then only rows
    without a vector are written to. Of those, this pool never has more."""
    still = copy(pool)
    still.encoded, still.set_aside = pool.encoded.copy(), pool.set_aside.copy()
    schema = read_schema(record.label_config, record.choices)
    return ProjectSnapshot(record, options.of_form(feature_space.form(encoder)), schema, still, desk, mark, encoder)


def stands(store: Store, record: ProjectRecord) -> bool:
    """Whether a project is still the one that was seen: another one may have got its number since, or nobody serve it
    any more."""
    found = store.projects.get(record.id)
    return found is not None and bool(found.published) and found.made_at == record.made_at
