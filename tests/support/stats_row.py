"""What a round leaves for those who only read, for a store that a test has filled by hand."""

from __future__ import annotations

from fake_encoder import FakeEncoder

from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.model import fitted_model
from ml_backend.monitoring import project_stats
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.teacher.teacher_labels import recall


def measure(store: Store, project: int = 5, aggregator: LabelAggregator | None = None) -> None:
    """Writes the project's stats row, as the end of a round does."""
    record, aggregator = store.projects.known(project), aggregator or LabelAggregator(store, project)
    schema, pool = read_schema(record.label_config), ProjectPool(store, project, FakeEncoder())
    pool.refresh(record.tasks_revision)
    teacher, answers = (record.teacher or {}).get("name"), aggregator.refresh(schema).answers
    recalled = recall(store, teacher, schema, pool, project, answers) if teacher else None
    learner, _ = fitted_model.load_best(store, store.versions.active(project), pool.space)
    project_stats.update(store, project, schema, pool, aggregator, learner, recalled)
