"""A fake Label Studio in memory. It has the part of the API that the backend uses, and behaves like a real server.

`FakeLabelStudio` holds the state of the server. `FakeClient` is the real client, without a network; it records every
call. Methods for the actions of annotators and administrators return the webhook body that Label Studio would send.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from schemas import as_choices

from ml_backend.core.exceptions import NotFoundError, RequestRefusedError
from ml_backend.core.schema import ProjectSchema
from ml_backend.label_studio.client import PAGE_TASKS, LabelStudioClient
from ml_backend.label_studio.label_config import read_schema

SINGLE = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text" choice="single">'
    '<Choice value="fruit"/><Choice value="metal"/><Choice value="animal"/></Choices></View>'
)
MULTIPLE = SINGLE.replace('choice="single"', 'choice="multiple"')
WORDS = {
    "fruit": "apple pear plum cherry mango grape fig",
    "metal": "iron copper zinc tin nickel silver gold",
    "animal": "dog cat horse cow sheep goat hen",
}
Body = dict[str, Any]


def text_about(label: str, n: int) -> str:
    """Returns a short text whose words belong to its label. `n` makes the text unique."""
    words = WORDS[label].split()
    return f"{words[n % 7]} {words[(n // 7 + 3) % 7]} {words[(3 * n + 1) % 7]} n{n}"


def config_with(*labels: str, multiple: bool = False, control: str = "label") -> str:
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    kind = "multiple" if multiple else "single"
    return (
        f'<View><Text name="text" value="$text"/><Choices name="{control}" toName="text" choice="{kind}">'
        f"{choices}</Choices></View>"
    )


@dataclass
class FakeLabelStudio:
    """A server with one project, number 5."""

    label_config: str = SINGLE
    project: int = 5
    made_at: str = "2026-11-22T08:00:00.000000Z"
    tasks: dict[int, Body] = field(default_factory=dict)
    predictions: list[Body] = field(default_factory=list)
    webhooks: dict[int, Body] = field(default_factory=dict)
    backends: dict[int, Body] = field(default_factory=dict)
    views: dict[int, Body] = field(default_factory=dict)
    settings: Body = field(default_factory=dict)
    drops_rows: bool = False
    _today: date = field(
        default_factory=lambda: datetime.now(UTC).date()
    )  # reconciliation finds new tasks by their date
    _ticks: Any = field(default_factory=lambda: itertools.count(1))
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.settings = {
            "sampling": "Sequential sampling",
            "model_version": "",
            "show_collab_predictions": True,
            "evaluate_predictions_automatically": False,
            "show_skip_button": True,
            "skip_queue": "REQUEUE_FOR_OTHERS",
            "maximum_annotations": 1,
            **self.settings,
        }

    # --- actions of people -------------------------------------------------------------------------------------------

    def add_tasks(self, texts: Sequence[str], **data: Any) -> Body:
        """Imports texts as tasks. `data`: further fields of each task."""
        tasks = []
        for text in texts:
            number = next(self._ids)
            self.tasks[number] = {
                "id": number, "data": {"text": text, **data}, "updated_at": self._now(), "annotations": [],
            }  # fmt: skip
            tasks.append(self.tasks[number])
        return self._event("TASKS_CREATED", tasks=[self._bare(task) for task in tasks])

    def change_text(self, task: int, text: str) -> None:
        self.tasks[task]["data"]["text"] = text
        self.tasks[task]["updated_at"] = self._now()

    def delete_task(self, task: int) -> Body:
        del self.tasks[task]
        self.predictions = [row for row in self.predictions if row["task"] != task]
        return self._event("TASKS_DELETED", tasks=[{"id": task}])

    def annotate(
        self, task: int, *choices: Any, by: int = 1, skip: bool = False, truth: bool = False, control: str = "label"
    ) -> Body:
        annotation = {
            "id": next(self._ids),
            "task": task,
            "completed_by": by,
            "was_cancelled": skip,
            "ground_truth": truth,
            "result": _result(choices, control),
            "updated_at": "",
            "lead_time": 1.5,
        }
        self.tasks[task]["annotations"].append(annotation)
        return self._touched("ANNOTATION_CREATED", annotation)

    def annotate_with(self, task: int, result: Any, by: int = 1) -> Body:
        """Submits any `result`, as an import or a program can."""
        number = self.annotate(task, by=by)["annotation"]["id"]
        annotation = self.annotation(number)
        annotation["result"] = result
        return self._touched("ANNOTATION_CREATED", annotation)

    def change_annotation(self, number: int, *choices: str, control: str = "label") -> Body:
        annotation = self.annotation(number)
        annotation["result"] = _result(choices, control)
        return self._touched("ANNOTATION_UPDATED", annotation)

    def delete_annotation(self, number: int) -> Body:
        task = self.tasks[self.annotation(number)["task"]]
        task["annotations"] = [annotation for annotation in task["annotations"] if annotation["id"] != number]
        task["updated_at"] = self._now()
        return self._event("ANNOTATIONS_DELETED", annotations=[{"id": number}])

    def annotation(self, number: int) -> Body:
        return next(annotation for annotation in self.annotations() if annotation["id"] == number)

    def annotations(self) -> list[Body]:
        return [annotation for task in self.tasks.values() for annotation in task["annotations"]]

    def next_task(self) -> Body | None:
        """Returns the task with the lowest score of the current version, else any open task."""
        open_tasks = {number for number, task in self.tasks.items() if not task["annotations"]}
        current = self.current_predictions()
        ranked = sorted((row["score"], row["task"]) for row in current if row["task"] in open_tasks)
        number = ranked[0][1] if ranked else min(open_tasks, default=None)
        if number is None:
            return None
        return {**self.tasks[number], "predictions": [row for row in current if row["task"] == number]}

    def current_predictions(self) -> list[Body]:
        return [row for row in self.predictions if row["model_version"] == self.settings["model_version"]]

    # --- the API ----------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, body: Any, params: Body) -> Any:  # noqa: PLR0911, PLR0912
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "api", "projects", number):
                self._check(number)
                return self.as_json()
            case ("PATCH", "api", "projects", number):
                self._check(number)
                version = body.get("model_version")
                if version and version not in {row["model_version"] for row in self.predictions}:
                    raise RequestRefusedError(f"{method} {path}: no prediction carries {version}")
                self.settings.update(body)
                return self.as_json()
            case ("GET", "api", "tasks"):
                return self._list(params)
            case ("GET", "api", "projects", number, "export"):
                return [self._full(task) for task in self.tasks.values() if task["annotations"]]
            case ("POST", "api", "projects", number, "import", "predictions"):
                valid_rows = [row for row in body if self._valid(row)]
                if self.drops_rows:
                    valid_rows = valid_rows[1:]
                self.predictions += [dict(row) for row in valid_rows]
                return {"created": len(valid_rows)}
            case ("POST", "api", "projects", number, "import"):
                task_ids = [self.add_tasks([row["text"]], **row)["tasks"][0]["id"] for row in body]
                return {
                    "task_count": len(task_ids),
                    **({"task_ids": task_ids} if params.get("return_task_ids") else {}),
                }
            case ("POST", "api", "predictions"):
                self.predictions.append(dict(body))
                if body["task"] in self.tasks:
                    self.tasks[body["task"]]["updated_at"] = self._now()
                return {"id": next(self._ids), **body}
            case ("DELETE", "api", "projects", number, "model-versions"):
                model_version = body["model_version"]
                self.predictions = [row for row in self.predictions if row["model_version"] != model_version]
                return None
            case (_, "api", "webhooks" | "ml", *_) | (_, "api", "dm", "views", *_):
                return self._things(method, parts, body)
            case ("GET", "api", "version"):
                return {"release": "1.23.2"}
        raise NotFoundError(f"{method} {path}")

    def as_json(self) -> Body:
        annotations = self.annotations()
        skips = sum(annotation["was_cancelled"] for annotation in annotations)
        return {
            "id": self.project,
            "created_at": self.made_at,
            "label_config": self.label_config,
            "task_number": len(self.tasks),
            "total_annotations_number": len(annotations) - skips,
            "skipped_annotations_number": skips,
            **self.settings,
        }

    def _things(self, method: str, parts: list[str], body: Any) -> Any:
        kind = "views" if parts[1] == "dm" else parts[1]
        objects = {"webhooks": self.webhooks, "ml": self.backends, "views": self.views}[kind]
        number = int(parts[-1]) if parts[-1].isdigit() else None
        if number is not None and number not in objects:
            raise NotFoundError(f"{method} {'/'.join(parts)}")
        if method == "GET":
            return list(objects.values())
        if method == "DELETE":
            del objects[number or 0]
            return None
        if number is None:
            number = next(self._ids)
            objects[number] = {"id": number, "extra_params": None}
            # a backend that is added brings its own webhook, unless one with its address is there already
            if kind == "ml" and not any(hook["url"] == f"{body['url']}/webhook" for hook in self.webhooks.values()):
                object_id = next(self._ids)
                self.webhooks[object_id] = {"id": object_id, "url": f"{body['url']}/webhook", "headers": {}}
        objects[number].update(body)
        return objects[number]

    def _list(self, params: Body) -> Body:
        query = json.loads(params.get("query", "{}"))
        assert query.get("ordering", ["tasks:id"]) == ["tasks:id"], "the only order that is played here"
        tasks = [self.tasks[number] for number in sorted(self.tasks)]
        for item in query.get("filters", {"items": ()})["items"]:
            column = str(item["filter"]).removeprefix("filter:tasks:")
            holds = _OPERATORS[item["operator"]]
            tasks = [task for task in tasks if holds(_column(task, column), item["value"])]
        first = (int(params["page"]) - 1) * int(params["page_size"])
        page = tasks[first : first + int(params["page_size"])]
        has_all_fields = params.get("fields") == "all"
        names = set(params["include"].split(",")) if "include" in params else None
        listed = [self._full(task) if has_all_fields else self._bare(task) for task in page]
        return {"total": len(tasks), "tasks": [_only(task, names) for task in listed]}

    def _valid(self, row: Body) -> bool:
        stored = {}  # by control; a stored choice is never a path
        for control in read_schema(self.label_config).controls:
            stored[control.name] = [path[-1] for path in as_choices(control).stored] or [*control.labels]
        is_known = all(
            choice in stored.get(region["from_name"], ()) and region["to_name"] != region["from_name"]
            for region in row["result"]
            for choice in region["value"].get("choices") or [region["value"]["selected"]]
        )
        return is_known and 0 <= row["score"] <= 1 and row["task"] in self.tasks

    def _touched(self, action: str, annotation: Body) -> Body:
        task = self.tasks[annotation["task"]]
        annotation["updated_at"] = task["updated_at"] = self._now()
        return self._event(action, annotation=_copy(annotation), task=self._bare(task))

    def _event(self, action: str, **values: Any) -> Body:
        return {"action": action, "project": self.as_json(), **values}

    def project_updated(self) -> Body:
        return self._event("PROJECT_UPDATED")

    def _bare(self, task: Body) -> Body:
        return {"id": task["id"], "data": dict(task["data"]), "updated_at": task["updated_at"]}

    def _full(self, task: Body) -> Body:
        full: Body = _copy(task)
        return full

    def _now(self) -> str:
        tick = next(self._ticks)
        return f"{self._today}T{tick // 3600:02}:{tick // 60 % 60:02}:{tick % 60:02}.{100000 + tick % 800000:06}Z"

    def _check(self, number: str) -> None:
        if int(number) != self.project:
            raise NotFoundError(f"there is no project {number}")


class FakeClient(LabelStudioClient):
    """Records (method, path, body) of every call. A test may set `before` and `after`, which may raise."""

    def __init__(self, server: FakeLabelStudio, page_tasks: int = PAGE_TASKS) -> None:
        self.server = server
        self._page_tasks = page_tasks
        self.url = "http://label-studio.invalid"
        self.calls: list[tuple[str, str, Any]] = []
        self.params: list[Body] = []  # of each call
        self.before: Callable[[str, str, Any], None] = lambda *_: None
        self.after: Callable[[str, str, Any], None] = lambda *_: None
        self._timeout = 1.0

    def call(
        self, method: str, path: str, *, body: Any = None, params: Body | None = None, timeout: float | None = None
    ) -> Any:
        self.calls.append((method, path, _copy(body)))
        self.params.append(params or {})
        self.before(method, path, body)
        reply = _copy(self.server.answer(method, path, body, params or {}))
        self.after(method, path, body)
        return reply

    def writes(self) -> list[tuple[str, str, Any]]:
        return [call for call in self.calls if call[0] != "GET"]

    def close(self) -> None:
        pass


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "greater": lambda cell, value: cell > value,
    "greater_or_equal": lambda cell, value: cell >= value,
    "in_list": lambda cell, value: cell in value,
}


def _column(task: Body, name: str) -> Any:
    """Returns a cell of the Data Manager."""
    if name in ("total_annotations", "cancelled_annotations"):
        skips = sum(annotation["was_cancelled"] for annotation in task["annotations"])
        return skips if name == "cancelled_annotations" else len(task["annotations"]) - skips
    return task[name]


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _only(task: Body, names: set[str] | None) -> Body:
    """Returns a task, or an annotation, with these fields only; None: with all fields."""
    if names is None:
        return task
    fields = {name: value for name, value in task.items() if name in names}
    if "annotations" in fields:
        fields["annotations"] = [_only(annotation, names) for annotation in fields["annotations"]]
    return fields


def _result(choices: Sequence[Any], control: str) -> list[Body]:
    if not choices:
        return []
    return [{"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}]


def add_labelled_tasks(server: FakeLabelStudio, n: int) -> dict[int, str]:
    """Adds n tasks, whose labels alternate. Returns the label of each task."""
    labels = [list(WORDS)[i % 3] for i in range(n)]
    first = max(server.tasks, default=0)
    server.add_tasks([text_about(label, i) for i, label in enumerate(labels)])
    return dict(zip([number for number in server.tasks if number > first], labels, strict=True))


def submit_labels(
    server: FakeLabelStudio, truth: dict[int, str], schema: ProjectSchema, tasks: Sequence[int], by: int = 1
) -> None:
    """Submits the right label of each task, or the next label if `by` is negative."""
    for task in tasks:
        shift = 0 if by > 0 else 1
        label = schema.controls[0].labels[
            (schema.controls[0].labels.index(truth[task]) + shift) % len(schema.controls[0].labels)
        ]
        server.annotate(task, label, by=abs(by))
