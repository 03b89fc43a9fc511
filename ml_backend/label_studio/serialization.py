"""Label Studio's JSON <-> the domain, for tasks, annotations and predictions.

Whatever comes from outside may be malformed: readers return None or skip what they cannot use, they never raise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from ml_backend.core.types import (
    Annotation,
    Example,
    Prediction,
    TaskSchema,
    content_key,
    read_record,
    record_text,
    storable,
)
from ml_backend.label_studio.choices_values import read_labels, write_choices
from ml_backend.label_studio.html_text import visible_text

MAX_TEXT = 20_000  # characters of a task's text that are kept: far beyond what any encoder reads
MAX_HTML = 200_000  # of HTML, before its words are taken
MAX_FIELD = 64  # characters of a field's name or value that may be kept
MAX_FIELDS = 20
MAX_RECORD, MAX_VALUE = 300, 2000  # fields of a record, and letters of each in a table, that are kept
UNNAMED = "(unnamed)"  # as the first column of a CSV file may be
_MAX_ID = 2**63 - 1


def read_id(value: Any) -> int | None:
    """A number as Label Studio writes it, or None. Booleans are no numbers."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 20 else 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_ID:
        return value
    return None


def read_project_id(value: Any) -> int | None:
    """`5` from 5, "5" or the "5.1795307863" that /setup and /predict carry."""
    found = read_id(value.split(".", 1)[0] if isinstance(value, str) else value)
    return found if found is not None and found < 2**31 else None


def read_text(task: Any, schema: TaskSchema) -> str:
    """The task's text, or its record as text; "" if it has none, or blanks alone."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        return ""
    if not schema.is_record:
        value = _shown(data, schema.text_field, schema)
        text = "" if value is None or isinstance(value, (dict, list)) else storable(str(value)[:MAX_TEXT])
        return text if text.strip() else ""
    record = _read_record(data.get(schema.record_field), MAX_VALUE)
    beside = _read_record({name: _shown(data, name, schema) for name in schema.fields}, MAX_TEXT)
    for name in beside.keys() & record.keys():
        record[f"{name} (record)"] = record.pop(name)
    record |= beside
    return record_text(record) if any(_is_there(value) for value in record.values()) else ""


def _is_there(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _shown(data: dict[str, Any], name: str, schema: TaskSchema) -> Any:
    """What a tag shows of a task: its field `name`, or, as Label Studio has it, what a path like "person.age" leads to;
    of HTML, the words."""
    value: Any = data.get(name)
    if name not in data:
        value = data
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return visible_text(value[:MAX_HTML]) if name in schema.html and isinstance(value, str) else value


def record_name(field: object) -> str:
    """A field's name in a record."""
    return storable(str(field)).strip()[:MAX_FIELD] or UNNAMED


def _read_record(value: Any, most: int) -> dict[str, Any]:
    """The fields of a record, with at most so many letters of each; whatever is nested in one is its value as JSON. Of
    a table imported from CSV, the record may be JSON itself. What is no record has no fields."""
    if isinstance(value, str):
        value = read_record(value)
    if not isinstance(value, dict):
        return {}
    found: dict[str, Any] = {}
    for key, each in list(value.items())[:MAX_RECORD]:
        name = record_name(key)
        while name in found:  # cut short, it is another one's
            name = f"{name[: MAX_FIELD - 4]} ({len(found)})"
        plain = _as_json(each) if isinstance(each, dict | list) else each
        found[name] = storable(plain)[:most] if isinstance(plain, str) else plain
    return found


def _as_json(value: Any) -> str | None:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return None


def read_moment(value: Any) -> str:
    """A time in the one form that sorts as text and that Label Studio's filters take (others are a 500); "" if none.

    A time without a zone is taken for UTC, wherever this machine stands.
    """
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (TypeError, ValueError, OverflowError):
        return ""


def read_example(task: Any, schema: TaskSchema) -> Example | None:
    number = read_id(task.get("id")) if isinstance(task, dict) else None
    if number is None:
        return None
    text = read_text(task, schema)
    fields = _read_fields(task.get("data"), schema)
    if not text:  # the names of the others tell where the text may be
        fields = {**dict.fromkeys(_names(task.get("data")), ""), **fields}
    return Example(number, text, content_key(text), fields)


def _names(data: Any) -> list[str]:
    """Names of a task's data, the first few."""
    return [storable(str(name))[:MAX_FIELD] for name in data][:MAX_FIELDS] if isinstance(data, dict) else []


def _read_fields(data: Any, schema: TaskSchema) -> dict[str, str]:
    """What may name a group: not the text itself, nothing nested, nothing long."""
    if not isinstance(data, dict):
        return {}
    asked = schema.data
    shown = {
        storable(str(name)): storable(str(value))
        for name, value in data.items()
        if name not in asked and isinstance(value, str | int | float | bool)
    }
    short = {name: value for name, value in shown.items() if len(name) <= MAX_FIELD and 0 < len(value) <= MAX_FIELD}
    return dict(sorted(short.items())[:MAX_FIELDS])


def read_annotation(annotation: Any, schema: TaskSchema, task: int | None = None) -> Annotation | None:
    """One annotation; `task` is the number of the task it was found in, if its own JSON may lack it."""
    if not isinstance(annotation, dict) or "result" not in annotation:  # a shortened one must not pass for an empty one
        return None
    number = read_id(annotation.get("id"))
    owner = annotation.get("task")
    task = read_id(owner.get("id") if isinstance(owner, dict) else owner) or task
    if number is None or task is None:
        return None
    completed_by = annotation.get("completed_by")
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id")
    annotator = read_id(completed_by)
    lead_time = annotation.get("lead_time")
    cancelled = annotation.get("was_cancelled") is True
    choices, unread = read_labels(annotation.get("result"), schema)
    return Annotation(
        id=number,
        task=task,
        annotator=annotator if annotator is not None and annotator < 2**31 else None,
        choices=choices,
        cancelled=cancelled,
        ground_truth=annotation.get("ground_truth") is True,
        updated_at=read_moment(annotation.get("updated_at")),
        lead_time=float(lead_time) if isinstance(lead_time, (int, float)) and 0 <= lead_time < 1e9 else None,
        unread="" if cancelled else unread,
    )


def read_tasks(tasks: Iterable[Any], schema: TaskSchema) -> tuple[list[Example], list[Annotation]]:
    """Tasks as the API and /predict carry them, with the annotations inside them."""
    examples: list[Example] = []
    annotations: list[Annotation] = []
    for task in tasks:
        example = read_example(task, schema)
        if example is None:
            continue
        examples.append(example)
        inside = task.get("annotations")
        found = (read_annotation(each, schema, example.task) for each in (inside if isinstance(inside, list) else ()))
        annotations += [each for each in found if each is not None]
    return examples, annotations


def write_result(prediction: Prediction, schema: TaskSchema) -> list[dict[str, Any]]:
    """The `result` of a prediction: one region with the draft, or none for a task without one."""
    draft = prediction.draft
    if draft is None or not draft.choices:
        return []
    region: dict[str, Any] = {  # what is of interest to people comes first: the Data Manager shows the beginning
        **({"meta": {"text": [prediction.reason]}} if prediction.reason else {}),
        "id": f"draft-{prediction.task}",
        "from_name": schema.control,
        "to_name": schema.source,
        "type": "choices",
        "value": {"choices": write_choices(draft.choices, schema)},
        "score": round(draft.confidence, 4),
    }
    return [region]


def write_predictions(predictions: Iterable[Prediction], schema: TaskSchema, version: str) -> Iterator[dict[str, Any]]:
    """Predictions as Label Studio's API and its ML backend protocol take them."""
    for prediction in predictions:
        yield {
            "task": prediction.task,
            "result": write_result(prediction, schema),
            "score": round(min(max(prediction.score, 0.0), 1.0), 6),
            "model_version": version,
        }
