"""What a round leaves for those who only read, for a store that a test has filled by hand."""

from __future__ import annotations

from fake_encoder import FakeEncoder

from ml_backend import knowledge, project_stats
from ml_backend.aggregation import Aggregator
from ml_backend.label_studio.config import read_schema
from ml_backend.pool import ProjectPool
from ml_backend.store import Store
from ml_backend.teaching.recall import recall


def measure(store: Store, project: int = 5, aggregator: Aggregator | None = None) -> None:
    """Writes the project's stats row, as the end of a round does."""
    record, aggregator = store.projects.known(project), aggregator or Aggregator(store, project)
    schema, pool = read_schema(record.label_config), ProjectPool(store, project, FakeEncoder())
    pool.refresh(record.tasks_revision)
    teacher, answers = (record.teacher or {}).get("name"), aggregator.refresh(schema).answers
    recalled = recall(store, teacher, schema, pool, project, answers) if teacher else None
    learner, _ = knowledge.load_best(store, store.versions.active(project), pool.space)
    project_stats.update(store, project, schema, pool, aggregator, learner, recalled)
