"""Reads the body of a webhook request into an Event, and stores it.

Malformed parts are left out; the next reconciliation reads them from the API.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ml_backend.core.exceptions import InvalidEventError, UnsupportedConfigError
from ml_backend.core.types import Annotation, TaskContent, storable_text
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_annotation, read_id, read_project_id, read_task_content
from ml_backend.storage import Store

MAX_ITEMS = 500  # tasks or annotations that are read from one event; a reconciliation reads the others
_COUNTS = {
    "tasks": "task_number",
    "annotations": "total_annotations_number",
    "skips": "skipped_annotations_number",
}


@dataclass(frozen=True, slots=True)
class Event:
    """A change in one project.

    label_config  the labelling configuration at that time, None if the body lacks it
    counts        Label Studio's counts of tasks, annotations and skips at that time, None if the body lacks them
    incomplete    whether parts of the body were not read, so that a reconciliation is needed
    problem       why the annotations in the body could not be read, "" if they could
    """

    action: str
    project: int
    label_config: str | None = None
    counts: dict[str, int] | None = None
    annotations: tuple[Annotation, ...] = ()
    deleted_annotations: tuple[int, ...] = ()
    contents: tuple[TaskContent, ...] = ()
    deleted_tasks: tuple[int, ...] = ()
    incomplete: bool = False
    problem: str = ""

    @property
    def needs_round(self) -> bool:
        """Whether the event may change the queue. PROJECT_UPDATED alone does not: Apprentice's own changes of the model
        version fire it."""
        return self.incomplete or self.action == "START_TRAINING" or self.has_data

    @property
    def has_data(self) -> bool:
        """Whether the event has tasks or annotations, or ids of deleted ones."""
        return bool(self.annotations or self.deleted_annotations or self.contents or self.deleted_tasks)


def read_event(body: Any, choices: Callable[[int], str] = lambda _: "") -> Event:
    """Reads the body of one webhook request.

    choices  returns the setting `choices` of a project (see `label_config.read_schema`)

    Raises InvalidEventError if the body has no action or no project.
    """
    if not isinstance(body, dict):
        raise InvalidEventError("the body is not a JSON object")
    action, project = body.get("action"), body.get("project")
    if not isinstance(action, str):
        raise InvalidEventError("the body has no action")
    details = project if isinstance(project, dict) else {}
    project_id = read_project_id(details.get("id") if details else project)
    if project_id is None:
        raise InvalidEventError("the body names no project")
    config = details.get("label_config")
    config = storable_text(config) if isinstance(config, str) else None
    event = Event(action[:50], project_id, config, read_counts(details))
    if action in ("ANNOTATIONS_DELETED", "TASKS_DELETED"):
        kind = "annotations" if action == "ANNOTATIONS_DELETED" else "tasks"
        items = _as_list(body.get(kind))
        possible_ids = (read_id(item.get("id") if isinstance(item, dict) else item) for item in items)
        ids = tuple(item_id for item_id in possible_ids if item_id is not None)
        if kind == "annotations":
            return replace(event, deleted_annotations=ids)
        return replace(event, deleted_tasks=ids[:MAX_ITEMS], incomplete=len(ids) > MAX_ITEMS)
    if not action.startswith(("ANNOTATION", "TASK")):
        return event
    try:
        schema = read_schema(config or "")
        if len(schema.control_names) > 1:
            schema = read_schema(config or "", choices(project_id))
    except UnsupportedConfigError as problem:
        return replace(event, incomplete=not config, problem=str(problem) if config else "")
    tasks = _as_list(body.get("task")) + _as_list(body.get("tasks"))
    contents = [read_task_content(task, schema.input) for task in tasks[:MAX_ITEMS]]
    items = _as_list(body.get("annotation")) + _as_list(body.get("annotations"))
    single_task = read_id(tasks[0].get("id")) if len(tasks) == 1 and isinstance(tasks[0], dict) else None
    content_of = {content.task: content for content in contents if content is not None}
    annotations = [read_annotation(item, schema, content_of, single_task) for item in items[:MAX_ITEMS]]
    return replace(
        event,
        contents=tuple(content for content in contents if content is not None),
        annotations=tuple(annotation for annotation in annotations if annotation is not None),
        incomplete=max(len(tasks), len(items)) > MAX_ITEMS or None in contents or None in annotations,
    )


def store_event(store: Store, event: Event) -> bool:
    """Stores an event in milliseconds, and returns whether it requested a round. Doubled, late and reordered events are
    harmless.

    An event of an unknown project is ignored: the project was forgotten, or `connect` has not stored it yet.
    """
    project = event.project
    project_row = store.projects.get(project)
    if project_row is None:
        return False
    config_changed = event.label_config is not None and event.label_config != project_row.label_config
    is_manual = event.action == "START_TRAINING"
    if event.counts is not None and event.counts != project_row.counts:
        store.synchronisation.set_counts(project, event.counts)
    if config_changed or event.incomplete or is_manual:  # the event may be late, so the round asks Label Studio
        store.synchronisation.request_reconciliation(project)
    if is_manual:
        store.publications.request(project)
    store.tasks.put(project, event.contents, only_new=True)  # a late event must not restore an old text
    store.tasks.remove(project, event.deleted_tasks)
    store.annotations.put(project, event.annotations)
    store.annotations.delete(project, event.deleted_annotations)
    needs_round = project_row.is_connected and (event.needs_round or config_changed)
    if needs_round:
        store.jobs.request(project, retry=is_manual)
    return needs_round


def read_counts(project: dict[str, Any]) -> dict[str, int] | None:
    """Label Studio's counts in the JSON of a project, by `tasks`, `annotations` and `skips`; None if one is missing."""
    counts = {name: project.get(key) for name, key in _COUNTS.items()}
    if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts.values()):
        return counts  # type: ignore[return-value]
    return None


def _as_list(value: Any) -> list[Any]:
    """The objects under a key of the body; Label Studio sends one object or a list under the same key."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
