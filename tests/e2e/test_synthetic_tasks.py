"""Generated texts become marked tasks of a real server, once each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from projects import synthetic_tasks
from running_backend import Backend, Project, until

from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.label_studio.generated_tasks import import_generated_texts

pytestmark = pytest.mark.e2e


def test_written_texts_become_tasks_once_and_keep_their_mark(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(30)
    backend.connect(project)
    since = datetime.now(UTC).isoformat()
    texts = {"what is a hard one?": "hard", "an easy one": "easy"}
    added = import_generated_texts(project.client, project.number, project.schema.input, texts, since)
    assert {task.text: task.fields[SYNTHETIC_FIELD] for task in added} == texts
    tasks = {task["id"]: task["data"] for task in project.tasks() if SYNTHETIC_FIELD in task["data"]}
    assert {data[project.schema.input.text_field]: data[SYNTHETIC_FIELD] for data in tasks.values()} == texts
    assert {task.task for task in added} == set(tasks)
    more_texts = texts | {"a third one": "hard"}
    assert [
        task.text
        for task in import_generated_texts(project.client, project.number, project.schema.input, more_texts, since)
    ] == ["a third one"]
    until(lambda: len(synthetic_tasks(backend.store, project.number)) == 3, "the backend to know them by their mark")
