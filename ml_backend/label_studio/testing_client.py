"""Does in Label Studio what a person does: creates projects, imports tasks and submits annotations. For the demo, the
benchmarks and the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.exceptions import NotFoundError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.types import LabelValue, TaskContent, unknown_content
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import content_of_task, read_labels

MAX_TASKS_PER_IMPORT = 5000


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task as the labelling screen receives it.

    drafts   the value of the draft for each control, () if there is none
    version  model version that made the draft, None if there is none
    """

    content: TaskContent
    drafts: Mapping[str, LabelValue]
    version: str | None

    @property
    def task(self) -> int:
        """The id of the task."""
        return self.content.task

    @property
    def text(self) -> str:
        """The text of the task."""
        return self.content.text


def find_project(client: LabelStudioClient, title: str) -> int | None:
    """The id of the project with this title, None if there is none."""
    projects = client.call("GET", "api/projects", params={"title": title, "page_size": 100})["results"]
    return next((int(project["id"]) for project in projects if project["title"] == title), None)


def create_project(client: LabelStudioClient, title: str, label_config: str) -> int:
    """Creates a project; returns its id."""
    return int(client.call("POST", "api/projects/", body={"title": title, "label_config": label_config})["id"])


def import_tasks(client: LabelStudioClient, project: int, data: Sequence[Mapping[str, Any]]) -> Iterable[int]:
    """Imports the data of tasks in chunks; yields the number of imported tasks after each chunk."""
    for start in range(0, len(data), MAX_TASKS_PER_IMPORT):
        chunk = list(data[start : start + MAX_TASKS_PER_IMPORT])
        client.call("POST", f"api/projects/{project}/import", body=chunk, timeout=600)
        yield start + len(chunk)


def next_task(client: LabelStudioClient, project: int, schema: ProjectSchema) -> ServedTask | None:
    """The task that Label Studio serves next, None if no task is left."""
    try:
        task = client.call("GET", f"api/projects/{project}/next")
    except NotFoundError:
        return None
    prediction: dict[str, Any] = next(iter(task.get("predictions") or []), {})
    regions = prediction.get("result") or []
    content = content_of_task(int(task["id"]), task, schema.input)
    drafts = {name: label.value for name, label in read_labels(regions, schema, content).items()}
    return ServedTask(content, drafts, prediction.get("model_version"))


def submit_annotation(client: LabelStudioClient, task: int, control: ControlSchema, choices: Sequence[str]) -> int:
    """Submits an annotation with these choices, whose regions need no content of the task; returns its id."""
    return submit_labels(client, unknown_content(task), [(control, tuple(choices))])


def submit_labels(
    client: LabelStudioClient, content: TaskContent, values: Iterable[tuple[ControlSchema, LabelValue]]
) -> int:
    """Submits an annotation with the values of several controls; returns its id. `content`: of the task"""
    regions = [
        {"from_name": control.name, "to_name": control.source, **region}
        for control, value in values
        for region in kind_of(control).write_regions(value, control, content)
    ]
    body = {"result": regions, "lead_time": 1.0}
    return int(client.call("POST", f"api/tasks/{content.task}/annotations/", body=body)["id"])


def skip_task(client: LabelStudioClient, task: int) -> int:
    """Skips a task; returns the id of the annotation that stands for the skip."""
    body = {"result": [], "was_cancelled": True}
    return int(client.call("POST", f"api/tasks/{task}/annotations/", body=body)["id"])
