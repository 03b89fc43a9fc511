"""Checks the texts of a sample of tasks in Label Studio, before the store has any task."""

from __future__ import annotations

from collections.abc import Iterator

from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_tasks
from ml_backend.monitoring import messages
from ml_backend.monitoring.text_check import SAMPLE_TASKS, TextCheck, check_examples


def check_first_tasks(client: LabelStudioClient, project: int, schema: TaskSchema) -> TextCheck:
    """Checks the texts of the first tasks that Label Studio lists. Raises LabelStudioError."""
    query = {"project": project, "page": 1, "page_size": SAMPLE_TASKS, "fields": "task_only", "include": "id,data"}
    page = client.call("GET", "api/tasks", params={**query, "resolve_uri": "false"}) or {}
    examples, _ = read_tasks(page.get("tasks") or (), schema)
    return check_examples(examples, int(page.get("total") or 0), schema)


def question_and_text_sentences(client: LabelStudioClient, project: int, schema: TaskSchema) -> Iterator[str]:
    """Names the control that a connected project learns, and describes problems with its texts.

    Raises LabelStudioError.
    """
    yield messages.question_sentence(schema)
    yield from messages.text_sentences(check_first_tasks(client, project, schema), schema)
