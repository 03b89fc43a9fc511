"""The values that the stages of a round pass on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from ml_backend.core.arrays import Ints
from ml_backend.core.ports import RecordEncoder
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.types import ModelVersion, Remark
from ml_backend.kinds.aggregation import AggregatedLabels
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.labels.aggregation import LabelAggregator, LabelSnapshot
from ml_backend.model.project_model import ProjectModel
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Lease, ProjectRow, Store
from ml_backend.teacher.teacher_labels import TeacherLabels


@dataclass(frozen=True)
class RoundContext:
    """The dependencies of one round.

    project                the id of the project
    pool                   the tasks of the project, kept from round to round
    aggregator             the labels of the project, kept from round to round
    check_lease            raises if the lease was lost: then nothing more may be written to Label Studio
    newer_round_requested  whether an event has requested a newer round of this or of another project; waits up to
                           the given number of seconds for such a request
    lease                  the lease under which versions are stored; None if no other worker can have the project
    stages                 the seconds that each stage took
    """

    settings: Settings
    store: Store
    client: LabelStudioClient
    project: int
    pool: ProjectPool
    aggregator: LabelAggregator
    check_lease: Callable[[], None]
    newer_round_requested: Callable[[float], bool]
    lease: Lease | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the seconds of a stage. Checks the lease before the stage, so that a stopped or superseded worker
        never writes under a version number that another worker owns."""
        self.check_lease()
        start = self.store.clock.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round(self.store.clock.monotonic() - start, 4)


@dataclass(frozen=True, slots=True)
class RoundInputs:
    """Everything that one round needs of its project, read once by `preparation.prepare`.

    project_row      the row of the project
    options          the settings of the project, with the defaults for its form of tasks
    record_encoder   the encoder of records, None for a project of texts
    label_snapshot   the aggregated labels of all tasks, with their digest
    labels           the aggregated labels of the tasks that can be learnt from, by the name of their control
    active_version   the version that serves in Label Studio, None before the first
    held_versions    the version whose learner a rollback holds, by the name of the control; none without a rollback
    serving          the learners that serve, None before there is one
    serving_stored   whether the artifact of version `serving.number` holds all learners that serve
    teacher_labels   the labels of the teacher by the name of their control; none without a teacher that can be asked
    rarely_labelled  the controls that are not learnt because annotators leave them empty, by name: how many of how many
                     annotated tasks have a label
    remarks          what users should know about these inputs
    """

    project_row: ProjectRow
    options: ProjectSettings
    schema: ProjectSchema
    record_encoder: RecordEncoder | None
    label_snapshot: LabelSnapshot
    labels: Mapping[str, AggregatedLabels]
    active_version: ModelVersion | None
    held_versions: Mapping[str, ModelVersion]
    serving: ProjectModel | None
    serving_stored: bool
    teacher_labels: Mapping[str, TeacherLabels]
    rarely_labelled: Mapping[str, tuple[int, int]]
    remarks: tuple[Remark, ...]

    @property
    def labelled(self) -> Ints:
        """(n,) int64, ascending: the tasks with a label of any control."""
        return reduce(np.union1d, (labels.tasks for labels in self.labels.values()))
