"""What a person does in Label Studio: make a project, take a task, answer it. For demo, benchmarks and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.exceptions import NotFoundError
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.choices_values import read_labels, write_choices
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_text

IMPORT_CHUNK = 5000


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task as the labelling screen gets it: its draft's choices and the version that drafted it, if there is one."""

    task: int
    text: str
    draft: tuple[str, ...]
    version: str | None


def find_project(client: LabelStudioClient, title: str) -> int | None:
    """The number of the project with this title, None if there is none."""
    found = client.call("GET", "api/projects", params={"title": title, "page_size": 100})
    return next((int(each["id"]) for each in found["results"] if each["title"] == title), None)


def create_project(client: LabelStudioClient, title: str, label_config: str) -> int:
    return int(client.call("POST", "api/projects/", body={"title": title, "label_config": label_config})["id"])


def import_tasks(client: LabelStudioClient, project: int, data: Sequence[Mapping[str, Any]]) -> Iterable[int]:
    """Imports tasks with their data in chunks; yields how many are there after each."""
    for at in range(0, len(data), IMPORT_CHUNK):
        chunk = list(data[at : at + IMPORT_CHUNK])
        client.call("POST", f"api/projects/{project}/import", body=chunk, timeout=600)
        yield at + len(chunk)


def next_task(client: LabelStudioClient, project: int, schema: TaskSchema) -> ServedTask | None:
    """The task that Label Studio serves next, None when there is none left."""
    try:
        task = client.call("GET", f"api/projects/{project}/next")
    except NotFoundError:
        return None
    prediction: dict[str, Any] = next(iter(task.get("predictions") or []), {})
    regions = prediction.get("result") or []
    choices, _ = read_labels(regions, schema)
    return ServedTask(int(task["id"]), read_text(task, schema), choices, prediction.get("model_version"))


def answer(client: LabelStudioClient, task: int, schema: TaskSchema, choices: Sequence[str]) -> int:
    """Submits an answer; returns the annotation's number."""
    region = {
        "from_name": schema.control,
        "to_name": schema.source,
        "type": "choices",
        "value": {"choices": write_choices(choices, schema)},
    }
    body = {"result": [region] if choices else [], "lead_time": 1.0}
    return int(client.call("POST", f"api/tasks/{task}/annotations/", body=body)["id"])


def skip(client: LabelStudioClient, task: int) -> int:
    """Skips a task; returns the annotation's number."""
    body = {"result": [], "was_cancelled": True}
    return int(client.call("POST", f"api/tasks/{task}/annotations/", body=body)["id"])
