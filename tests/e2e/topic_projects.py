"""Projects of any labelling configuration, with made-up tasks whose topics are known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from running_backend import Project

from ml_backend.core.schema import InputSpec
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_text
from ml_backend.label_studio.testing_client import create_project, import_tasks

OTHER_TEXT = "I see."
"""Where a task needs more than one text."""


def topic_project(
    client: LabelStudioClient, title: str, config: str, topics: Mapping[str, str], **further_data: Any
) -> Project:
    """A project with a task for each text of `topics`. Its `truth` has the topic of each task.

    further_data  further fields of the data of each task
    """
    schema = read_schema(config)
    project = Project(client, create_project(client, title, config), schema, {})
    unread = dict.fromkeys(re.findall(r'value="\$(\w+)"', config), OTHER_TEXT)  # Label Studio wants all fields
    data = [unread | further_data | task_data(text, schema.input) for text in topics]
    for of_task, topic in zip(data, topics.values(), strict=True):
        project.truth[read_text({"data": of_task}, schema.input)] = topic
    assert [*import_tasks(client, project.number, data)] == [len(topics)] == [len(project.truth)]
    return project


def task_data(text: str, input_spec: InputSpec) -> dict[str, Any]:
    """The data of a task that has `text` in the first of its fields, in the form that the field's tag shows."""
    data: dict[str, Any] = {}
    if input_spec.record_field:
        data[input_spec.record_field] = {"Message": text, "Characters": len(text)}
    for name in filter(None, (input_spec.text_field, *input_spec.fields)):
        data[name] = _field_value(OTHER_TEXT if data else text, name, input_spec)
    return data


def _field_value(text: str, name: str, input_spec: InputSpec) -> Any:
    """A text, HTML, a dialogue or a list."""
    for dialogue in input_spec.dialogues:
        if dialogue.name == name:
            messages = (("user", text), ("assistant", OTHER_TEXT))
            return [{dialogue.author_key: author, dialogue.text_key: message} for author, message in messages]
    if name in input_spec.lists:
        return [{"id": "1", "title": "Message", "body": text}]
    return f"<p>{text}</p>" if name in input_spec.html else text
