"""A project as it was read from the store, with its pool: the input of questions and of distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.pool import feature_space
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import ProjectRow


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """A project at one moment, and one of its controls, which questions and distillation are about.

    options  the settings of the project, with the defaults for its form of tasks
    control  one of the controls of `schema`
    encoder  the encoder of its vector space
    """

    project_row: ProjectRow
    options: ProjectSettings
    schema: ProjectSchema
    control: ControlSchema
    pool: PoolContents
    encoder: Encoder

    def with_control(self, control: ControlSchema) -> Self:
        """The project with another of its controls."""
        return replace(self, control=control)

    @property
    def label_descriptions(self) -> dict[str, Any] | None:
        """The descriptions of the control's labels, None if there are none yet."""
        return self.project_row.label_descriptions.get(self.control.name)

    @property
    def feature_scores(self) -> dict[str, Any] | None:
        """The scores of the fields of records for the control's labels, None if there are none yet."""
        return self.project_row.feature_scores.get(self.control.name)

    @property
    def record_encoder(self) -> RecordEncoder | None:
        """The encoder, if it encodes records."""
        return feature_space.as_record_encoder(self.encoder)
