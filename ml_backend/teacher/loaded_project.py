"""A project as it was read from the store, with its pool: the input of questions and of distillation."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.pool import feature_space
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import ProjectRow


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """A project at one moment.

    options  the settings of the project, with the defaults for its form of tasks
    encoder  the encoder of its vector space
    """

    project_row: ProjectRow
    options: ProjectSettings
    schema: ProjectSchema
    pool: PoolContents
    encoder: Encoder

    @property
    def record_encoder(self) -> RecordEncoder | None:
        """The encoder, if it encodes records."""
        return feature_space.as_record_encoder(self.encoder)
