"""Converts tasks, annotations and predictions between Label Studio's JSON and the types of `core`.

Label Studio's JSON may be malformed: the readers never raise, but return None or skip what they cannot read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ml_backend.core.displayed_text.html_text import visible_text
from ml_backend.core.displayed_text.object_lists import dialogue_text, list_text
from ml_backend.core.schema import ControlSchema, InputSpec, ObjectTag, ProjectSchema
from ml_backend.core.types import (
    MAX_FIELD_CHARACTERS,
    MAX_RECORD_FIELDS,
    MAX_TEXT_CHARACTERS,
    Annotation,
    Label,
    LabelValue,
    Prediction,
    TaskContent,
    content_key,
    read_record,
    record_field_name,
    record_text,
    storable_json,
    storable_text,
    unknown_content,
)
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.input_tags import WHOLE_FIELD
from ml_backend.label_studio.pair_records import pair_record

MAX_HTML_CHARACTERS = 200_000  # of HTML, before its visible text is extracted
MAX_DISPLAYED_CHARACTERS = 200_000  # of displayed content, as JSON; with more of it, no region has a position in it
MAX_GROUP_FIELDS = 20  # of a task; further fields make no groups
MAX_TABLE_VALUE_CHARACTERS = 2000  # of a value in a table
_MAX_ID = 2**63 - 1


def read_id(value: Any) -> int | None:
    """A positive id from a number or a text of digits, None if the value is neither."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 20 else 0
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_ID:
        return value
    return None


def read_project_id(value: Any) -> int | None:
    """The id 5 from 5, "5" or "5.1795307863"; the last form is in the requests to /setup and /predict."""
    project = read_id(value.split(".", 1)[0] if isinstance(value, str) else value)
    return project if project is not None and project < 2**31 else None


def read_text(task: Any, input_spec: InputSpec) -> str:
    """The task's text, or as text its record, or the record of the texts that are compared (see `pair_record`); "" if
    the task has none, or only blanks."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        return ""
    if input_spec.text_field:
        value = _displayed_value(data, input_spec.text_field, input_spec)
        text = (
            "" if value is None or isinstance(value, (dict, list)) else storable_text(str(value)[:MAX_TEXT_CHARACTERS])
        )
        return text if text.strip() else ""
    record = _read_record(data.get(input_spec.record_field), MAX_TABLE_VALUE_CHARACTERS)
    displayed = {name: _displayed_value(data, name, input_spec) for name in input_spec.fields}
    task_fields = _read_record(displayed, MAX_TEXT_CHARACTERS)
    for name in task_fields.keys() & record.keys():
        record[f"{name} (record)"] = record.pop(name)
    record |= task_fields
    if not any(_has_content(value) for value in record.values()):
        return ""
    sides = [[record_field_name(name) for name in names] for names in input_spec.pair]
    return record_text(pair_record(record, sides) if sides else record)


def _has_content(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _displayed_value(data: dict[str, Any], name: str, input_spec: InputSpec) -> Any:
    """The value that a tag displays: the field `name` or, as in Label Studio, the value at a path like "person.age".
    HTML is reduced to its visible text; dialogues and lists become texts."""
    value = _field_value(data, name)
    if dialogue := next((dialogue for dialogue in input_spec.dialogues if dialogue.name == name), None):
        return dialogue_text(value, dialogue)
    if name in input_spec.lists:
        return list_text(value)
    return visible_text(value[:MAX_HTML_CHARACTERS]) if name in input_spec.html and isinstance(value, str) else value


def _field_value(data: dict[str, Any], name: str) -> Any:
    """The value of the field `name`, or that at a path like "person.age"."""
    value: Any = data.get(name)
    if name not in data:
        value = data
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _displayed_values(data: Any, located: Iterable[ObjectTag], text: str) -> dict[str, Any]:
    """The value that each of the tags displays, by the name of the tag, unless it is the text of the task; None for a
    value that cannot be stored."""
    values: dict[str, Any] = {}
    for tag in located:
        field_name = WHOLE_FIELD.fullmatch(tag.value)
        value = _field_value(data, field_name[1]) if field_name and isinstance(data, dict) else None
        length = len(value) if isinstance(value, str) else len(_as_json(value) or "")
        stored = storable_json(value) if length <= MAX_DISPLAYED_CHARACTERS else None
        if stored != text:
            values[tag.name] = stored
    return values


def _read_record(value: Any, max_characters: int) -> dict[str, Any]:
    """The fields of a record, with at most `max_characters` of each value; {} if `value` is no record.

    A nested value becomes JSON text. After an import from CSV, the record itself may be JSON text.
    """
    if isinstance(value, str):
        value = read_record(value)
    if not isinstance(value, dict):
        return {}
    record: dict[str, Any] = {}
    for key, field_value in list(value.items())[:MAX_RECORD_FIELDS]:
        name = record_field_name(key)
        while name in record:  # names can become equal when they are shortened
            name = f"{name[: MAX_FIELD_CHARACTERS - 4]} ({len(record)})"
        plain = _as_json(field_value) if isinstance(field_value, dict | list) else field_value
        record[name] = storable_text(plain)[:max_characters] if isinstance(plain, str) else plain
    return record


def _as_json(value: Any) -> str | None:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return None


def read_timestamp(value: Any) -> str:
    """A time as ISO text in UTC, "" if the value is no time. A time without a zone is read as UTC.

    The format sorts as text. Label Studio's filters accept it and respond with status 500 to other formats.
    """
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (TypeError, ValueError, OverflowError):
        return ""


def read_task_content(task: Any, input_spec: InputSpec) -> TaskContent | None:
    """A task with its text and the fields that may make groups, None if it has no id."""
    task_id = read_id(task.get("id")) if isinstance(task, dict) else None
    return None if task_id is None else content_of_task(task_id, task, input_spec)


def content_of_task(task_id: int, task: dict[str, Any], input_spec: InputSpec) -> TaskContent:
    """The content of a task, whose id is `task_id`: see `read_task_content`."""
    text = read_text(task, input_spec)
    fields = _group_fields(task.get("data"), input_spec)
    if not text:  # the names of all fields help users to find the field that has the text
        fields = {**dict.fromkeys(_field_names(task.get("data")), ""), **fields}
    return TaskContent(
        task_id, text, content_key(text), fields, _displayed_values(task.get("data"), input_spec.located, text)
    )


def _field_names(data: Any) -> list[str]:
    """The names of the first fields in a task's data."""
    if not isinstance(data, dict):
        return []
    return [storable_text(str(name))[:MAX_FIELD_CHARACTERS] for name in data][:MAX_GROUP_FIELDS]


def _group_fields(data: Any, input_spec: InputSpec) -> dict[str, str]:
    """The fields of a task's data that may make groups: not the text itself, no nested and no long values."""
    if not isinstance(data, dict):
        return {}
    text_fields = input_spec.data
    plain = {
        storable_text(str(name)): storable_text(str(value))
        for name, value in data.items()
        if name not in text_fields and isinstance(value, str | int | float | bool)
    }
    short = {
        name: value
        for name, value in plain.items()
        if len(name) <= MAX_FIELD_CHARACTERS and 0 < len(value) <= MAX_FIELD_CHARACTERS
    }
    return dict(sorted(short.items())[:MAX_GROUP_FIELDS])


def read_annotation(
    annotation: Any, schema: ProjectSchema, contents: Mapping[int, TaskContent], task: int | None = None
) -> Annotation | None:
    """One annotation, None if it lacks an id, a task or a result, or if a control needs the content of the task.

    contents  of tasks, by id
    task      id of the task that contains the annotation; used if the annotation does not name its task
    """
    if not isinstance(annotation, dict) or "result" not in annotation:  # it must not be read as an empty annotation
        return None
    annotation_id = read_id(annotation.get("id"))
    own_task = annotation.get("task")
    task = read_id(own_task.get("id") if isinstance(own_task, dict) else own_task) or task
    if annotation_id is None or task is None:
        return None
    completed_by = annotation.get("completed_by")
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id")
    annotator = read_id(completed_by)
    lead_time = annotation.get("lead_time")
    cancelled = annotation.get("was_cancelled") is True
    content = contents.get(task)
    if content is None:
        if schema.input.located and not cancelled:
            return None
        content = unknown_content(task)
    labels = {} if cancelled else read_labels(annotation.get("result"), schema, content)
    return Annotation(
        id=annotation_id,
        task=task,
        annotator=annotator if annotator is not None and annotator < 2**31 else None,
        labels=labels,
        cancelled=cancelled,
        ground_truth=annotation.get("ground_truth") is True,
        updated_at=read_timestamp(annotation.get("updated_at")),
        lead_time=float(lead_time) if isinstance(lead_time, (int, float)) and 0 <= lead_time < 1e9 else None,
    )


def read_labels(result: Any, schema: ProjectSchema, content: TaskContent) -> dict[str, Label]:
    """The label for each control that is learnt, in the `result` of an annotation of a task with this content."""
    names = schema.control_names
    return {control.name: read_label(result, control, names, content) for control in schema.controls}


def read_label(result: Any, control: ControlSchema, control_names: Collection[str], content: TaskContent) -> Label:
    """The label for one control in the `result` of an annotation. `control_names`: the names of all controls of the
    labelling configuration"""
    regions = [region for region in result if isinstance(region, dict)] if isinstance(result, list) else None
    if regions is None:
        return Label((), "shape")
    of_control = [region for region in regions if region.get("from_name") == control.name]
    label = kind_of(control).read_label(of_control, control, content)
    if not label.value and label.unread in ("", "empty"):
        names = [region.get("from_name") for region in regions]
        if any(isinstance(name, str) and name not in control_names for name in names):
            return Label((), "control")
    return label


def read_tasks(tasks: Iterable[Any], schema: ProjectSchema) -> tuple[list[TaskContent], list[Annotation]]:
    """The tasks in the JSON of the API or of /predict, and the annotations that they contain."""
    examples: list[TaskContent] = []
    annotations: list[Annotation] = []
    for task in tasks:
        example = read_task_content(task, schema.input)
        if example is None:
            continue
        examples.append(example)
        contents = {example.task: example}
        contained = task.get("annotations")
        for item in contained if isinstance(contained, list) else ():
            if (annotation := read_annotation(item, schema, contents, example.task)) is not None:
                annotations.append(annotation)
    return examples, annotations


def write_result(prediction: Prediction, schema: ProjectSchema, content: TaskContent) -> list[dict[str, Any]]:
    """The `result` of a prediction for a task with this content: the regions of each draft that is not empty."""
    regions: list[dict[str, Any]] = []
    for control in schema.controls:
        draft = prediction.drafts.get(control.name)
        if draft is None or not draft.value:
            continue
        for region in _draft_regions(draft.value, control, content):
            regions.append(
                {  # the reason comes first, because the Data Manager shows only the beginning
                    **({"meta": {"text": [prediction.reason]}} if prediction.reason and not regions else {}),
                    "id": f"draft-{prediction.task}" + (f"-{len(regions)}" if regions else ""),
                    "from_name": control.name,
                    "to_name": control.source,
                    "score": round(draft.confidence, 4),
                    **region,
                }
            )
    return regions


def _draft_regions(value: LabelValue, control: ControlSchema, content: TaskContent) -> list[dict[str, Any]]:
    """The regions of a draft, or of the part of it that the labelling screen can show."""
    kind = kind_of(control)
    regions = kind.write_regions(value, control, content)
    return regions or kind.write_regions(kind.displayable_part(value, control, content), control, content)


def writable_predictions(
    predictions: Iterable[Prediction], schema: ProjectSchema, contents: Mapping[int, TaskContent]
) -> Iterator[Prediction]:
    """Yields the predictions with the drafts, or the parts of drafts, that the labelling screen can show, see
    `Kind.displayable_part`. Leaves out the predictions of tasks that are not in `contents`, because they were deleted
    meanwhile."""
    controls = {control.name: control for control in schema.controls}
    for prediction in predictions:
        if content := contents.get(prediction.task):
            drafts = {}
            for name, draft in prediction.drafts.items():
                value = kind_of(controls[name]).displayable_part(draft.value, controls[name], content)
                if value or not draft.value:
                    drafts[name] = replace(draft, value=value)
            yield replace(prediction, drafts=drafts)


def write_predictions(
    predictions: Iterable[Prediction], schema: ProjectSchema, version: str, contents: Iterable[TaskContent]
) -> Iterator[dict[str, Any]]:
    """Yields predictions as the JSON that Label Studio's API and its ML backend protocol accept. `contents`: of the
    task of each prediction"""
    for prediction, content in zip(predictions, contents, strict=True):
        yield {
            "task": prediction.task,
            "result": write_result(prediction, schema, content),
            "score": round(min(max(prediction.score, 0.0), 1.0), 6),
            "model_version": version,
        }
