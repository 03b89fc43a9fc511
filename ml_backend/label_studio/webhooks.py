"""Webhook bodies -> one Event. Tolerant: what cannot be used is left out, and the next reconcile finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ml_backend.core.exceptions import InvalidEventError, UnsupportedConfigError
from ml_backend.core.types import Annotation, Example, storable
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_annotation, read_example, read_id, read_project_id

MAX_ITEMS = 500  # an event with more tasks is answered by a reconcile: it would take too long here
_COUNTS = {
    "tasks": "task_number",
    "annotations": "total_annotations_number",
    "skips": "skipped_annotations_number",
}


@dataclass(frozen=True, slots=True)
class Event:
    """What happened in one project.

    label_config  the configuration at that moment, None if the event does not say
    counts        Label Studio's own count of tasks, annotations and skips at that moment, None if it does not say
    incomplete    there was more than was read: reconcile
    problem       why the answers in it could not be read, "" if they could
    """

    action: str
    project: int
    label_config: str | None = None
    counts: dict[str, int] | None = None
    annotations: tuple[Annotation, ...] = ()
    deleted_annotations: tuple[int, ...] = ()
    examples: tuple[Example, ...] = ()
    deleted_tasks: tuple[int, ...] = ()
    incomplete: bool = False
    problem: str = ""

    @property
    def asks_for_round(self) -> bool:
        """Whether the queue may have to change. PROJECT_UPDATED alone does not: our own PATCH fires it, too."""
        return self.incomplete or self.action == "START_TRAINING" or self.carries_data

    @property
    def carries_data(self) -> bool:
        return bool(self.annotations or self.deleted_annotations or self.examples or self.deleted_tasks)


def read_event(body: Any, choices: Callable[[int], str] = lambda _: "") -> Event:
    """Reads one webhook body. `choices` says which <Choices> of a project is learnt, "" for its configuration's own.
    Raises InvalidEventError if the body has no action or no project."""
    if not isinstance(body, dict):
        raise InvalidEventError("the body is not a JSON object")
    action, project = body.get("action"), body.get("project")
    if not isinstance(action, str):
        raise InvalidEventError("the body has no action")
    details = project if isinstance(project, dict) else {}
    number = read_project_id(details.get("id") if details else project)
    if number is None:
        raise InvalidEventError("the body names no project")
    config = details.get("label_config")
    config = storable(config) if isinstance(config, str) else None
    event = Event(action[:50], number, config, read_counts(details))
    if action in ("ANNOTATIONS_DELETED", "TASKS_DELETED"):
        kind = "annotations" if action == "ANNOTATIONS_DELETED" else "tasks"
        found = (read_id(item.get("id") if isinstance(item, dict) else item) for item in _list(body.get(kind)))
        ids = tuple(each for each in found if each is not None)
        if kind == "annotations":
            return replace(event, deleted_annotations=ids)
        return replace(event, deleted_tasks=ids[:MAX_ITEMS], incomplete=len(ids) > MAX_ITEMS)
    if not action.startswith(("ANNOTATION", "TASK")):
        return event
    try:
        several = (config or "").count("<Choices") > 1
        schema = read_schema(config or "", choices(number) if several else "")
    except UnsupportedConfigError as problem:
        return replace(event, incomplete=not config, problem=str(problem) if config else "")
    tasks = _list(body.get("task")) + _list(body.get("tasks"))
    examples = [read_example(task, schema) for task in tasks[:MAX_ITEMS]]
    answers = _list(body.get("annotation")) + _list(body.get("annotations"))
    lone = read_id(tasks[0].get("id")) if len(tasks) == 1 and isinstance(tasks[0], dict) else None
    read = [read_annotation(each, schema, lone) for each in answers[:MAX_ITEMS]]
    return replace(
        event,
        examples=tuple(each for each in examples if each is not None),
        annotations=tuple(each for each in read if each is not None),
        incomplete=max(len(tasks), len(answers)) > MAX_ITEMS or None in examples or None in read,
    )


def read_counts(project: dict[str, Any]) -> dict[str, int] | None:
    counts = {name: project.get(key) for name, key in _COUNTS.items()}
    if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts.values()):
        return counts  # type: ignore[return-value]
    return None


def _list(value: Any) -> list[Any]:
    """Label Studio sends one object or a list of them under the same name."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
