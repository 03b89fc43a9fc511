"""A JSON export of Label Studio -> tasks with their answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.types import SYNTHETIC, Annotation, Floats, Ints, TaskSchema, read_record, storable
from ml_backend.kinds.choices.label_aggregation import consensus
from ml_backend.label_studio.data_quality import defects, some
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import MAX_FIELD, read_id, read_tasks

GROUPS = 100  # more would be one for nearly every task, and a chart that nobody can read


@dataclass(frozen=True, slots=True)
class Export:
    """n tasks with an answer. tasks (n,) their numbers; targets (n, c); groups (n,): values of a field, "" for none."""

    tasks: Ints
    texts: list[str]
    targets: Floats
    groups: list[str]


def read_config(path: Path) -> TaskSchema:
    """The labelling configuration in a file. Raises ApprenticeError."""
    return read_schema(re.sub(r"^\s*<\?xml[^>]*>", "", read_text(path)))  # lxml refuses an encoding that is done with


def read_export(path: Path, schema: TaskSchema, group: str, say: Callable[[str], None]) -> Export:
    """The answered tasks of an export, with the value of the field `group` of each ("": of none).

    What is left out, or odd about the answers, is told to `say`. Raises ApprenticeError, naming tasks or labels, if the
    file is no such export, has fewer than two answered tasks, answers that the configuration lacks, a task twice, or a
    field `group` nowhere or with more than 100 values.
    """
    found = _tasks(path)
    for annotation in _annotations(found):
        annotation.pop("task", None)  # it is the one around it, even if somebody has numbered the tasks anew
    examples, annotations = read_tasks(found, schema)
    if twice := [task for task, times in Counter(example.task for example in examples).items() if times > 1]:
        raise ApprenticeError(f"{path} has more than one task with the id {some(twice)}: give each an id of its own")
    _all_known(path, schema, annotations)
    answers = consensus(schema, annotations)
    row = {task: row for row, task in enumerate(answers.tasks.tolist())}
    nameless = [place for place, task in enumerate(found, 1) if read_id(task.get("id")) is None]
    unanswered = [example.task for example in examples if example.task not in row]
    skips = {each.task: each.cancelled for each in sorted(annotations, key=lambda each: not each.cancelled)}
    empty = [example.task for example in examples if example.task in row and not example.text.strip()]
    kept = [example for example in examples if example.task in row and example.text.strip()]
    written = [example.task for example in kept if SYNTHETIC in example.fields]
    kept = [example for example in kept if SYNTHETIC not in example.fields]  # no sample of what there is to label
    what = "record" if schema.is_record else "text"
    reasons = (
        (nameless, "without an id (in the list, number {})"),
        ([task for task in unanswered if task not in skips], "not labelled (task {})"),
        ([task for task in unanswered if skips.get(task) is True], "skipped (task {})"),
        (
            [task for task in unanswered if skips.get(task) is False],
            f"without a choice for {schema.control!r} (task {{}})",
        ),
        (
            empty,
            f"without a {what} in {some([*map(repr, schema.data)])} (task {{}})",
        ),
        (written, "written by the teacher (task {})"),
    )
    left_out = ", ".join(f"{len(tasks)} {why.format(some(tasks))}" for tasks, why in reasons if tasks)
    if len(kept) < 2:
        raise ApprenticeError(
            f"{path} has too few tasks with a {what} and an answer, {len(kept)} of {len(found)}: label some first"
            + (f". Left out: {left_out}" if left_out else "")
            + _other_controls(found, schema)
        )
    if left_out:
        say(f"{path}: left out of {len(found)} tasks: {left_out}")
    data = {read_id(task.get("id")): task.get("data") for task in found}
    groups = [_value(data[example.task], example.text, schema, group) if group else "" for example in kept]
    if group:
        _look_at(path, group, groups, say)
    tasks, texts = [example.task for example in kept], [example.text for example in kept]
    targets = answers.targets[[row[task] for task in tasks]]
    for told in defects(schema, tasks, texts, targets, annotations):
        say(f"{path}: {told}")
    return Export(np.array(tasks, np.int64), texts, targets, groups)


def read_text(path: Path) -> str:
    """What stands in a file. Raises ApprenticeError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ApprenticeError(f"{path} cannot be read: {why}") from None


def _tasks(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ApprenticeError(f"{path} is not JSON ({error}): export the project as JSON from Label Studio") from None
    if not isinstance(found, list) or not all(isinstance(task, dict) for task in found):
        raise ApprenticeError(f"{path} is not a list of tasks: export the project as JSON from Label Studio")
    if not found:
        raise ApprenticeError(f"{path} is an empty list: export the project as JSON from Label Studio")
    if not any("data" in task and "annotations" in task for task in found):
        raise ApprenticeError(f"The tasks in {path} lack data or annotations: export as JSON, not as JSON-MIN")
    return found


def _all_known(path: Path, schema: TaskSchema, annotations: Iterable[Annotation]) -> None:
    given = {(choice, each.task) for each in annotations if not each.cancelled for choice in each.choices}
    foreign = sorted((choice, task) for choice, task in given if choice not in schema.labels)
    if foreign:
        label, task = foreign[0]
        labels = [*dict.fromkeys(repr(label) for label, _ in foreign)]
        raise ApprenticeError(
            f"{path}: task {task} is labelled {label!r}, which the labelling configuration lacks (in all: "
            f"{some(labels)}). Add it there, or mend the answers"
        )


def _annotations(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in found:
        inside = task.get("annotations")
        yield from (each for each in inside if isinstance(each, dict)) if isinstance(inside, list) else ()


def _other_controls(found: list[dict[str, Any]], schema: TaskSchema) -> str:
    """A hint at the configuration of another project."""
    results = [each["result"] for each in _annotations(found) if isinstance(each.get("result"), list)]
    regions = [region for result in results for region in result if isinstance(region, dict)]
    names = {repr(region["from_name"]) for region in regions if "from_name" in region} - {repr(schema.control)}
    return f". There are answers to {some(sorted(names))}: is it the right labelling configuration?" if names else ""


def _value(data: Any, text: str, schema: TaskSchema, field: str) -> str:
    """As in the live loop, nothing nested names a group but a field of a record."""
    value = data.get(field) if isinstance(data, dict) else None
    if value is None and schema.is_record:
        value = read_record(text).get(field)
    return storable(str(value))[:MAX_FIELD] if isinstance(value, str | int | float) else ""


def _look_at(path: Path, group: str, groups: list[str], say: Callable[[str], None]) -> None:
    without, different = groups.count(""), len({*groups} - {""})
    if not different:
        raise ApprenticeError(f"No task in {path} has a field {group!r}: name one of the tasks' data")
    if different > GROUPS:
        raise ApprenticeError(
            f"The field {group!r} has {different} different values in {path}: name one with at most {GROUPS}"
        )
    if without:
        say(f"{path}: {without} of {len(groups)} tasks have no {group!r} and count in no group")
