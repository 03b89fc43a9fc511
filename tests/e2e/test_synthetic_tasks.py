"""Texts that a teacher wrote, as tasks of a real server: marked, known as such here, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from projects import synthetic_tasks
from running_backend import Backend, Project, until

from ml_backend.core.types import SYNTHETIC
from ml_backend.label_studio.generated_tasks import add_written

pytestmark = pytest.mark.e2e


def test_written_texts_become_tasks_once_and_keep_their_mark(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(30)
    backend.connect(project)
    since = datetime.now(UTC).isoformat()
    texts = {"what is a hard one?": "hard", "an easy one": "easy"}
    made = add_written(project.client, project.number, project.schema, texts, since)
    assert {each.text: each.fields[SYNTHETIC] for each in made} == texts
    tasks = {task["id"]: task["data"] for task in project.tasks() if SYNTHETIC in task["data"]}
    assert {data[project.schema.text_field]: data[SYNTHETIC] for data in tasks.values()} == texts
    assert {each.task for each in made} == set(tasks)
    more = texts | {"a third one": "hard"}
    assert [each.text for each in add_written(project.client, project.number, project.schema, more, since)] == [
        "a third one"
    ]
    until(lambda: len(synthetic_tasks(backend.store, project.number)) == 3, "the backend to know them by their mark")
