"""The webhook is a hint, the API is the truth: brings the store in step with Label Studio.

Cheap when all is well: an event carries Label Studio's own counts, and if the store has as many there is nothing to
ask. Otherwise, and at intervals, one delta by `updated_at`. Measured on 1.23: creating, changing, skipping and deleting
an annotation, changing a task's data and adding a single prediction all move the task's `updated_at`; a bulk import of
predictions does not. A deleted task leaves no trace but the count, so counts that still differ are settled by a full
listing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ml_backend.domain import TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.config import UnsupportedConfig, read_schema
from ml_backend.label_studio.events import read_counts
from ml_backend.label_studio.wire import read_tasks
from ml_backend.store import ProjectRecord, Store, now

EXPORT_SECONDS = 300  # time-out of reading all annotated tasks
_CHANGED = "id,data,updated_at,annotations,result,was_cancelled,ground_truth,completed_by,lead_time"  # nested ones too
_BEGINNING = "1970-01-01T00:00:00.000000Z"


def reconcile(client: LabelStudioClient, store: Store, project: int, every: float) -> bool:
    """Makes the store agree with Label Studio; returns whether the API had to be asked.

    Asked when the last time is `every` seconds ago or the store's counts differ from those last heard.
    Raises LabelStudioError; what was read until then stays.
    """
    record = store.projects.ensure(project)
    if record.watermark and now() - record.reconciled_at < every and record.counts == _counted(store, project):
        return False
    found = client.project(project)
    config = str(found.get("label_config") or "")
    if config != record.label_config:
        store.projects.update(project, label_config=config, reconciled_at=0.0)  # answers are read by the configuration
        record = store.projects.ensure(project)
    schema = _schema(config)
    if schema is not None:
        # only what was known before asking may be missed: an event may bring something newer at any moment
        before = {annotation.id: annotation.task for annotation in store.labels.of(project)}
        watermark = _read_changes(client, store, record, schema, before)
        counts, mine = read_counts(client.project(project)), _counted(store, project)
        if counts is not None and counts["tasks"] != mine["tasks"] and record.watermark:
            _read_all_tasks(client, store, project, schema)
        if counts != _counted(store, project) or not record.reconciled_at:
            _read_all_annotations(client, store, project, schema, before)
        # counts that cannot be made equal (Label Studio's may lag) must not cost a listing every round
        store.projects.update(project, watermark=watermark, counts=_counted(store, project))
    if record.published and found.get("model_version") != record.published:
        store.projects.update(project, fingerprint="")  # something else was switched on: publish again
    if store.projects.ensure(project).label_config == config:  # else an event has changed it: look again next time
        store.projects.update(project, reconciled_at=now())
    return True


def _schema(config: str) -> TaskSchema | None:
    try:
        return read_schema(config)
    except UnsupportedConfig:
        return None  # the round says so


def _counted(store: Store, project: int) -> dict[str, int]:
    annotations, skips = store.labels.count(project)
    return {"tasks": store.tasks.count(project), "annotations": annotations, "skips": skips}


def _read_changes(
    client: LabelStudioClient, store: Store, record: ProjectRecord, schema: TaskSchema, before: dict[int, int]
) -> str:
    """Everything since the watermark, or all tasks the first time; returns the new watermark."""
    if not record.watermark:
        return _read_all_tasks(client, store, record.id, schema)
    since = {
        "filter": "filter:tasks:updated_at",
        "operator": "greater_or_equal",
        "type": "Datetime",
        "value": record.watermark,
    }
    watermark = record.watermark
    query = {"filters": {"conjunction": "and", "items": [since]}}
    for page in client.pages(record.id, query=query, fields="all", include=_CHANGED):
        tasks, standing = _keep(store, record.id, page, schema)
        gone = {number for number, task in before.items() if task in tasks} - standing
        store.labels.delete(record.id, gone)
        watermark = max([watermark, *_moments(page)])
    return watermark


def _read_all_tasks(client: LabelStudioClient, store: Store, project: int, schema: TaskSchema) -> str:
    """Lists every task and forgets those that are gone; returns the newest `updated_at`."""
    known, _ = store.tasks.index(project)
    seen: set[int] = set()
    watermark = ""
    for page in client.pages(project, fields="task_only", include="id,data,updated_at"):
        seen |= _keep(store, project, page, schema)[0]
        watermark = max([watermark, *_moments(page)])
        store.projects.update(project, progress={"read": len(seen)})
    store.tasks.remove(project, set(known.tolist()) - seen)
    return watermark or _BEGINNING


def _read_all_annotations(
    client: LabelStudioClient, store: Store, project: int, schema: TaskSchema, before: dict[int, int]
) -> None:
    """Reads every annotated task and forgets the annotations that are gone."""
    path = f"api/projects/{project}/export"
    tasks = client.call("GET", path, params={"exportType": "JSON"}, timeout=EXPORT_SECONDS)
    _, standing = _keep(store, project, tasks if isinstance(tasks, list) else [], schema)
    store.labels.delete(project, before.keys() - standing)


def _keep(store: Store, project: int, tasks: list[Any], schema: TaskSchema) -> tuple[set[int], set[int]]:
    """Stores tasks and the annotations inside them; returns the numbers of both."""
    examples, annotations = read_tasks(tasks, schema)
    store.tasks.put(project, examples)
    store.labels.put(project, annotations)
    standing = (each.get("id") for task in tasks for each in task.get("annotations") or ())
    return {example.task for example in examples}, {number for number in standing if isinstance(number, int)}


def _moments(tasks: Iterable[Any]) -> list[str]:
    """When the tasks were last changed, in the one form that the filter takes (anything else is a 500 there)."""
    found = (task.get("updated_at") for task in tasks if isinstance(task, dict))
    return [
        datetime.fromisoformat(each).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for each in found
        if isinstance(each, str) and each
    ]
