"""Whether the tasks have the texts that are to be learnt, before any of them is in the store."""

from __future__ import annotations

from collections.abc import Iterator

from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_tasks
from ml_backend.monitoring import messages
from ml_backend.monitoring.text_check import SAMPLE, TextCheck, check_examples


def look_at_texts(client: LabelStudioClient, project: int, schema: TaskSchema) -> TextCheck:
    """Looks at the texts of the first tasks, as Label Studio has them. Raises LabelStudioError."""
    first = {"project": project, "page": 1, "page_size": SAMPLE, "fields": "task_only", "include": "id,data"}
    found = client.call("GET", "api/tasks", params={**first, "resolve_uri": "false"}) or {}
    examples, _ = read_tasks(found.get("tasks") or (), schema)
    return check_examples(examples, int(found.get("total") or 0), schema)


def question_and_texts(client: LabelStudioClient, project: int, schema: TaskSchema) -> Iterator[str]:
    """Says what is learnt of a connected project, and what is wrong with its texts. Raises LabelStudioError."""
    yield messages.question(schema)
    yield from messages.texts(look_at_texts(client, project, schema), schema)
