"""Writes the stats row of a project whose store a test has filled without a round."""

from __future__ import annotations

from fake_encoder import FakeEncoder

from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.model import project_model
from ml_backend.monitoring import project_stats
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.teacher.teacher_labels import load_teacher_labels


def write_stats_row(store: Store, project: int = 5, aggregator: LabelAggregator | None = None) -> None:
    """Writes the project's stats row, as the end of a round does."""
    project_row, aggregator = store.projects.require(project), aggregator or LabelAggregator(store, project)
    schema, pool = read_schema(project_row.label_config), ProjectPool(store, project, FakeEncoder())
    pool.refresh(project_row.tasks_revision)
    teacher, labels = (project_row.teacher or {}).get("name"), aggregator.refresh(schema.controls).by_control
    teacher_labels = {
        control.name: load_teacher_labels(store, teacher, control, pool, project, labels[control.name])
        for control in schema.controls
        if teacher
    }
    model, _ = project_model.load_best(store, store.versions.active(project), pool.space)
    project_stats.update(store, project_stats.StatsInputs(project, schema, pool, aggregator, model, teacher_labels))
