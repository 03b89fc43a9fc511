"""Reads the annotated tasks of a JSON export of Label Studio."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints, Rows, are_missing, missing_rows
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, InputSpec, ProjectSchema
from ml_backend.core.types import (
    MAX_FIELD_CHARACTERS,
    SYNTHETIC_FIELD,
    Annotation,
    TaskContent,
    listed,
    read_record,
    storable_text,
)
from ml_backend.kinds.aggregation import AggregatedLabels, aggregate_annotations
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.data_quality import irregularities
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_id, read_tasks

MAX_GROUPS = 100  # a chart of more groups could not be read
MIN_UNKNOWN_SHARE = 0.05
"""Share of a control's annotations with labels that the configuration lacks, from which on it is probably the wrong
configuration."""


@dataclass(frozen=True, slots=True)
class Export:
    """The n annotated tasks of an export.

    tasks    (n,) ids
    texts    n texts
    targets  (n, ...) the aggregated labels by control, missing for a task without a label for the control
    groups   n values of the field that makes the groups, "" for a task without a value
    """

    tasks: Ints
    texts: list[str]
    targets: Mapping[str, Rows]
    groups: list[str]

    def labelled_for(self, control: str) -> Export:
        """The tasks with a label for a control."""
        rows = np.flatnonzero(~are_missing(self.targets[control]))
        targets = {name: of_control[rows] for name, of_control in self.targets.items()}
        texts, groups = [self.texts[row] for row in rows], [self.groups[row] for row in rows]
        return Export(self.tasks[rows], texts, targets, groups)


@dataclass(frozen=True, slots=True)
class ExportContent:
    """An export as it is read for some controls, from which an `Export` of any of them can be made.

    tasks        the tasks in the file
    examples     the texts of the tasks that have an id
    annotations  the annotations in the tasks
    labels       the aggregated labels by control
    """

    path: Path
    tasks: list[dict[str, Any]]
    examples: list[TaskContent]
    annotations: list[Annotation]
    labels: Mapping[str, AggregatedLabels]


def read_config(path: Path) -> ProjectSchema:
    """The schema of the labelling configuration in a file. Raises ApprenticeError."""
    # lxml refuses a decoded text that declares an encoding
    return read_schema(re.sub(r"^\s*<\?xml[^>]*>", "", read_text(path)))


def read_content(path: Path, schema: ProjectSchema) -> ExportContent:
    """The content of an export. Raises ApprenticeError, which names tasks, if the file is no JSON export, or has a task
    twice."""
    tasks = _load_tasks(path)
    for annotation in _annotations_in(tasks):
        # the task that contains the annotation is its task, also if the ids of the tasks were changed in the file
        annotation.pop("task", None)
    examples, annotations = read_tasks(tasks, schema)
    if duplicates := [task for task, times in Counter(example.task for example in examples).items() if times > 1]:
        raise ApprenticeError(
            f"{path} has more than one task with the id {listed(duplicates)}: give each task an id of its own"
        )
    aggregated = {control.name: aggregate_annotations(control, annotations) for control in schema.controls}
    return ExportContent(path, tasks, examples, annotations, aggregated)


def make_export(content: ExportContent, schema: ProjectSchema, group: str, notify: Callable[[str], None]) -> Export:
    """The tasks of an export with a label for any control of the schema.

    content  read with this schema, or with one that has more controls
    group    name of the field whose values make the groups, "" for no groups
    notify   is called with a sentence for the tasks that are left out and for each kind of irregularity

    Raises ApprenticeError if the export has fewer than two annotated tasks or many labels that the configuration lacks,
    or if the field `group` is missing from all tasks or has more than `MAX_GROUPS` values.
    """
    path, tasks, examples, annotations = content.path, content.tasks, content.examples, content.annotations
    for control in schema.controls:
        _check_labels(path, control, annotations, notify)
    aggregated = {control.name: content.labels[control.name] for control in schema.controls}
    labelled_tasks = {task for of_control in aggregated.values() for task in of_control.tasks.tolist()}
    labelled = [example for example in examples if example.task in labelled_tasks and example.text.strip()]
    # texts of the teacher are no sample of the texts that are to be labelled
    kept = [example for example in labelled if SYNTHETIC_FIELD not in example.fields]
    left_out = _left_out(tasks, examples, annotations, labelled_tasks, schema)
    if len(kept) < 2:
        data_kind = "record" if schema.input.is_record else "text"
        raise ApprenticeError(
            f"{path} has too few tasks with a {data_kind} and an answer, {len(kept)} of {len(tasks)}: label some first"
            + (f". Left out: {left_out}" if left_out else "")
            + _other_controls_hint(tasks, schema)
        )
    if left_out:
        notify(f"{path}: left out of {len(tasks)} tasks: {left_out}")
    data = {read_id(task.get("id")): task.get("data") for task in tasks}
    groups = [_group_value(data[example.task], example.text, schema.input, group) if group else "" for example in kept]
    if group:
        _check_groups(path, group, groups, notify)
    task_ids, texts = [example.task for example in kept], [example.text for example in kept]
    targets = {name: _targets_of(task_ids, labels) for name, labels in aggregated.items()}
    export = Export(np.array(task_ids, np.int64), texts, targets, groups)
    for control in schema.controls:
        labelled_for = export.labelled_for(control.name)
        of_control = labelled_for.tasks.tolist(), labelled_for.texts, labelled_for.targets[control.name]
        name = f"{control.name}: " if len(schema.controls) > 1 else ""
        for irregularity in irregularities(control, *of_control, annotations):
            notify(f"{path}: {name}{irregularity}")
    return export


def _targets_of(tasks: list[int], labels: AggregatedLabels) -> Rows:
    """(n, ...) the targets of n tasks, missing for a task without a label."""
    row_of_task = {task: row for row, task in enumerate(labels.tasks.tolist())}
    targets = missing_rows(labels.targets, len(tasks))
    labelled = [row for row, task in enumerate(tasks) if task in row_of_task]
    targets[labelled] = labels.targets[[row_of_task[tasks[row]] for row in labelled]]
    return targets


def _left_out(
    tasks: list[dict[str, Any]],
    examples: list[TaskContent],
    annotations: list[Annotation],
    labelled: Collection[int],
    schema: ProjectSchema,
) -> str:
    """Which tasks are left out, and why; "" if none is. `labelled` are the ids of the tasks with a target."""
    without_id = [place for place, task in enumerate(tasks, 1) if read_id(task.get("id")) is None]
    unlabelled = [example.task for example in examples if example.task not in labelled]
    # whether all annotations of a task are skips
    skipped = {
        annotation.task: annotation.cancelled
        for annotation in sorted(annotations, key=lambda annotation: not annotation.cancelled)
    }
    with_target = [example for example in examples if example.task in labelled]
    empty = [example.task for example in with_target if not example.text.strip()]
    generated = [example.task for example in with_target if example.text.strip() and SYNTHETIC_FIELD in example.fields]
    data_kind = "record" if schema.input.is_record else "text"
    names = " or ".join(repr(control.name) for control in schema.controls)
    marks_regions = any(kind_of(control).locates_regions for control in schema.controls)
    answer = "a readable label" if marks_regions else "a choice"
    reasons = (
        (without_id, "without an id (in the list, number {})"),
        ([task for task in unlabelled if task not in skipped], "not labelled (task {})"),
        ([task for task in unlabelled if skipped.get(task) is True], "skipped (task {})"),
        (
            [task for task in unlabelled if skipped.get(task) is False],
            f"without {answer} for {names} (task {{}})",
        ),
        (
            empty,
            f"without a {data_kind} in {listed([*map(repr, schema.input.data)])} (task {{}})",
        ),
        (generated, "written by the teacher (task {})"),
    )
    return ", ".join(f"{len(task_ids)} {reason.format(listed(task_ids))}" for task_ids, reason in reasons if task_ids)


def read_text(path: Path) -> str:
    """The text of a file. Raises ApprenticeError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ApprenticeError(f"{path} cannot be read: {reason}") from None


def _load_tasks(path: Path) -> list[dict[str, Any]]:
    try:
        tasks = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ApprenticeError(f"{path} is not JSON ({error}): export the project as JSON from Label Studio") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ApprenticeError(f"{path} is not a list of tasks: export the project as JSON from Label Studio")
    if not tasks:
        raise ApprenticeError(f"{path} is an empty list: export the project as JSON from Label Studio")
    if not any("data" in task and "annotations" in task for task in tasks):
        raise ApprenticeError(f"The tasks in {path} lack data or annotations: export as JSON, not as JSON-MIN")
    return tasks


def _check_labels(
    path: Path, control: ControlSchema, annotations: Iterable[Annotation], notify: Callable[[str], None]
) -> None:
    """Calls `notify` if the schema lacks labels of a few annotations for a control, which are left out. Raises
    ApprenticeError if these annotations are MIN_UNKNOWN_SHARE or more."""
    labelled = [
        annotation
        for annotation in annotations
        if not annotation.cancelled and control.name in annotation.labels and annotation.labels[control.name].value
    ]
    unknown_labels = [
        kind_of(control).unknown_labels(annotation.labels[control.name], control) for annotation in labelled
    ]
    unknown = sorted(
        (label, annotation.task)
        for annotation, labels in zip(labelled, unknown_labels, strict=True)
        for label in labels
    )
    if not unknown:
        return
    label, task = unknown[0]
    n_annotations = sum(map(bool, unknown_labels))
    all_labels = listed([*dict.fromkeys(repr(label) for label, _ in unknown)])
    counts = f"{n_annotations} of the {len(labelled)} annotations for {control.name!r}"
    if n_annotations >= MIN_UNKNOWN_SHARE * len(labelled):
        raise ApprenticeError(
            f"{path}: task {task} is labelled {label!r} for {control.name!r}, but the labelling configuration has no "
            f"such label. It lacks labels of {counts}: {all_labels}. Add them there, or correct the annotations"
        )
    notify(
        f"{path}: the labelling configuration lacks labels of {counts}, which are left out: {all_labels} (task {task})"
    )


def _annotations_in(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        annotations = task.get("annotations")
        if isinstance(annotations, list):
            yield from (annotation for annotation in annotations if isinstance(annotation, dict))


def _other_controls_hint(tasks: list[dict[str, Any]], schema: ProjectSchema) -> str:
    """A sentence that names the other controls which have annotations: the configuration may be another project's."""
    results = [
        annotation["result"] for annotation in _annotations_in(tasks) if isinstance(annotation.get("result"), list)
    ]
    regions = [region for result in results for region in result if isinstance(region, dict)]
    names = {repr(region["from_name"]) for region in regions if "from_name" in region}
    names -= {repr(control.name) for control in schema.controls}
    return f". There are answers to {listed(sorted(names))}: is it the right labelling configuration?" if names else ""


def _group_value(data: Any, text: str, input_spec: InputSpec, field: str) -> str:
    """The value of a field as the name of a group, "" if there is none. As in the live loop, a nested value makes no
    group, except a field of a record."""
    value = data.get(field) if isinstance(data, dict) else None
    if value is None and input_spec.is_record:
        value = read_record(text).get(field)
    return storable_text(str(value))[:MAX_FIELD_CHARACTERS] if isinstance(value, str | int | float) else ""


def _check_groups(path: Path, group: str, groups: list[str], notify: Callable[[str], None]) -> None:
    """Raises ApprenticeError if the field `group` makes no groups or too many."""
    missing, distinct = groups.count(""), len({*groups} - {""})
    if not distinct:
        raise ApprenticeError(f"No task in {path} has a field {group!r}: choose a field of the tasks' data")
    if distinct > MAX_GROUPS:
        raise ApprenticeError(
            f"The field {group!r} has {distinct} different values in {path}: choose a field with at most {MAX_GROUPS}"
        )
    if missing:
        notify(f"{path}: {missing} of {len(groups)} tasks have no {group!r} and count in no group")
