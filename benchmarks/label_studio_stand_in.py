"""A stand-in for Label Studio with one large project, in memory. It replies at once and accepts what a round writes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_timestamp
from ml_backend.storage import Store

PROJECT = 1
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = ("fruit", "metal", "animal", "plant", "town", "river")


class LabelStudioStandIn:
    """Tasks 1 to `tasks` and their annotations. Task t has label t mod 6; one annotation in eleven is wrong."""

    def __init__(self, tasks: int) -> None:
        self.labels = LABELS
        choices = "".join(f'<Choice value="{label}"/>' for label in LABELS)
        self.label_config = (
            f'<View><Text name="text" value="$text"/><Choices name="label" toName="text">{choices}</Choices></View>'
        )
        self._tasks = tasks
        self._annotations: dict[int, dict[str, Any]] = {}
        self._moments = itertools.count()
        self._ids = itertools.count(10**9)
        self._model_version = ""
        self._changed_at = dict.fromkeys(range(1, tasks + 1), self._moment())

    def text(self, task: int) -> str:
        return f"made-up text {task} about {self.label(task)}"

    def label_number(self, task: int) -> int:
        return task % len(LABELS)

    def label(self, task: int) -> str:
        return LABELS[self.label_number(task)]

    def annotate(self, tasks: Iterable[int]) -> None:
        for task in tasks:
            moment = self._changed_at[task] = self._moment()
            label = LABELS[(self.label_number(task) + (task % 11 == 0)) % len(LABELS)]
            region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}
            self._annotations[task] = {
                "id": next(self._ids), "task": task, "completed_by": 1, "was_cancelled": False, "ground_truth": False,
                "result": [region], "updated_at": moment, "lead_time": 2.0,
            }  # fmt: skip

    def annotate_one(self) -> dict[str, Any]:
        """Annotates the next task. Returns the webhook event."""
        task = max(self._annotations, default=0) + 1
        self.annotate([task])
        return {
            "action": "ANNOTATION_CREATED", "annotation": self._annotations[task], "task": self._task(task),
            "project": self._project(),
        }  # fmt: skip

    def connect(self, store: Store) -> None:
        """Puts the project into the state after `apprentice connect`."""
        store.projects.ensure(PROJECT)
        store.projects.set_label_config(PROJECT, self.label_config)
        store.projects.identify(PROJECT, read_timestamp(self._project()["created_at"]))
        store.connections.complete(PROJECT, webhook=1, ml_backend=1, tab=1)
        store.jobs.request(PROJECT)

    def set_extra_params(self, store: Store, params: dict[str, Any]) -> None:
        store.projects.set_extra_params(PROJECT, params)

    def client(self) -> LabelStudioClient:
        return _Client(self)

    def reply(self, method: str, path: str, body: Any, params: dict[str, Any]) -> Any:
        if (method, path) == ("GET", f"api/projects/{PROJECT}"):
            return self._project()
        if (method, path) == ("GET", "api/tasks"):
            return self._page(params)
        if path.endswith("/export"):
            return [self._task(task) for task in self._annotations]
        if path.endswith("/import/predictions"):
            return {"created": len(body)}
        if method == "PATCH" and "model_version" in (body or {}):
            self._model_version = body["model_version"]
        return {"id": 1}

    def _page(self, params: dict[str, Any]) -> dict[str, Any]:
        """Returns a page of tasks. Knows the client's filters: time, task id, and whether there is an annotation."""
        filters = json.loads(params.get("query", "{}")).get("filters", {}).get("items", [])
        filter_values = {item["filter"].removeprefix("filter:tasks:"): item["value"] for item in filters}
        behind, since = int(filter_values.get("id", 0)), filter_values.get("updated_at", "")
        if "cancelled_annotations" in filter_values:
            numbers = []
        elif "total_annotations" in filter_values:
            numbers = [task for task in sorted(self._annotations) if task > behind]
        else:
            numbers = [task for task, moment in self._changed_at.items() if task > behind and moment >= since]
        page = numbers[: int(params["page_size"])]
        return {"total": len(numbers), "tasks": [self._task(task) for task in page]}

    def _task(self, task: int) -> dict[str, Any]:
        annotations = [self._annotations[task]] if task in self._annotations else []
        return {
            "id": task, "data": {"text": self.text(task)}, "updated_at": self._changed_at[task],
            "annotations": annotations,
        }  # fmt: skip

    def _project(self) -> dict[str, Any]:
        return {
            "id": PROJECT, "created_at": BEGINNING.isoformat(), "label_config": self.label_config,
            "model_version": self._model_version, "task_number": self._tasks,
            "total_annotations_number": len(self._annotations), "skipped_annotations_number": 0,
        }  # fmt: skip

    def _moment(self) -> str:
        moment = BEGINNING + timedelta(milliseconds=next(self._moments))
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Client(LabelStudioClient):
    """The real client without a network."""

    def __init__(self, server: LabelStudioStandIn) -> None:
        super().__init__("http://label-studio.invalid", "none")
        self._server = server

    def call(
        self, method: str, path: str, *, body: Any = None, params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:  # fmt: skip
        return self._server.reply(method, path, body, params or {})
