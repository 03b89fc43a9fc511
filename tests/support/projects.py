"""Puts a project into any state, through the same methods that the program uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from schemas import CONTROL

from ml_backend.storage import Store, schema


def set_up(store: Store, project: int = 5, **state: Any) -> None:
    """Sets attributes of a project by their names in `ProjectRow`; those with a value for each control are set for the
    control "label". None deletes the rows of an attribute."""
    store.projects.ensure(project)
    setters: dict[str, Callable[[int, Any], object]] = {
        "label_config": store.projects.set_label_config,
        "extra_params": store.projects.set_extra_params,
        "made_at": store.projects.identify,
        "pinned": lambda project, value: store.projects.pin(project, {CONTROL: value}),
        "monitor_result": lambda project, value: store.monitor.put(project, CONTROL, value),
        "label_descriptions": lambda project, value: store.label_descriptions.put(project, CONTROL, value),
        "feature_scores": lambda project, value: store.feature_scores.put(project, CONTROL, value),
        "field_overrides": store.field_overrides.put,
        "record_profile": store.record_profiles.put,
    }
    tables = {
        "connection": schema.connection,
        "monitor_result": schema.monitor,
        "pinned": schema.pinned_version,
        "label_descriptions": schema.label_description,
        "feature_scores": schema.feature_score,
        "record_profile": schema.record_profile,
        "teacher": schema.teacher_state,
        "distillation": schema.distillation,
    }
    for name, value in state.items():
        if value is None and name in tables:
            remove_rows(store, project, tables[name])
        elif name in setters:
            setters[name](project, value)
        elif name == "connection":
            store.connections.complete(project, value.get("webhook"), value["ml"], value.get("view"))
        elif name == "teacher":
            store.teacher_states.set_teacher(project, value.get("name", ""), value.get("model", ""))
            store.teacher_states.set_problem(
                project, value.get("name", ""), value.get("problem", ""), value.get("until", 0.0)
            )
        elif name == "publish_timings":
            store.publications.set_timings(project, value["bulk"], value["single"])
        elif name == "progress":
            _write(store, schema.progress, project, {**dict.fromkeys(("worker", "encoded", "tasks", "read")), **value})
        elif name == "distillation":
            remove_rows(store, project, schema.distillation)
            artifact = value["file"], value["sha256"]
            store.distillations.replace(project, CONTROL, 0, artifact, value.get("made_of", {}))
        elif name in ("published", "fingerprint"):
            _write(store, schema.publication, project, {name: value})
        elif name in ("read_under", "reconciled_at"):
            _write(store, schema.synchronisation, project, {name: value})
        elif name == "tasks_revision":
            with store.database.begin() as connection:
                connection.execute(
                    sa.update(schema.project).where(schema.project.c.id == project).values({name: value})
                )
        else:
            raise TypeError(f"a project has no {name}")


def remove_rows(store: Store, project: int, *tables: sa.Table) -> None:
    """Deletes the rows of a project in these tables."""
    for table in tables:
        store.database.write(sa.delete(table).where(table.c.project == project))


def synthetic_tasks(store: Store, project: int) -> list[int]:
    """Returns the tasks that a teacher has written, ascending."""
    tasks, _, written = store.tasks.changed_since(project, -1)
    return tasks[written].tolist()  # type: ignore[no-any-return]


def _write(store: Store, table: sa.Table, project: int, values: dict[str, Any]) -> None:
    store.database.write(store.database.put(table, {"project": project, **values}))
