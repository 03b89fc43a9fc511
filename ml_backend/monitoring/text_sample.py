"""Checks the texts of a sample of tasks in Label Studio, before the store has any task."""

from __future__ import annotations

from ml_backend.core.schema import ProjectSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_tasks
from ml_backend.monitoring.text_check import SAMPLE_TASKS, TextCheck, check_examples


def check_first_tasks(client: LabelStudioClient, project: int, schema: ProjectSchema) -> TextCheck:
    """Checks the texts of the first tasks that Label Studio lists. Raises LabelStudioError."""
    query = {"project": project, "page": 1, "page_size": SAMPLE_TASKS, "fields": "task_only", "include": "id,data"}
    page = client.call("GET", "api/tasks", params={**query, "resolve_uri": "false"}) or {}
    examples, _ = read_tasks(page.get("tasks") or (), schema)
    return check_examples(examples, int(page.get("total") or 0), schema.input)
