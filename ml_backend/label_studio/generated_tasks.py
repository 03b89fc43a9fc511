"""Texts that a teacher has written, as tasks of Label Studio, marked as such in their data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ml_backend.core.types import SYNTHETIC, Example, TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_example, read_moment
from ml_backend.label_studio.sync import changed_since

SECONDS = 120.0
SLACK = timedelta(days=1)  # between the clocks of this machine and Label Studio's


def add_written(
    client: LabelStudioClient, project: int, schema: TaskSchema, texts: Mapping[str, str], since: str
) -> list[Example]:
    """Makes tasks of some texts, each with what it was meant to be (hard or easy); returns those that are new.

    since  nothing of this was there before then (ISO text in UTC). What was imported after that is not imported again,
           though whoever did it was killed before it could say so. Raises LabelStudioError
    """
    earliest = read_moment((datetime.fromisoformat(since) - SLACK).isoformat())
    there: set[str] = set()
    filters = [changed_since(earliest)]
    for page in client.pages(project, filters=filters, fields="task_only", include="id,data,updated_at"):
        there |= {
            example.text
            for task in page
            if (example := read_example(task, schema)) is not None and SYNTHETIC in example.fields
        }
    rows: list[dict[str, Any]] = [
        {schema.text_field: text, SYNTHETIC: kind} for text, kind in texts.items() if text not in there
    ]
    if not rows:
        return []
    path = f"api/projects/{project}/import"
    made = client.call("POST", path, body=rows, params={"return_task_ids": "true"}, timeout=SECONDS) or {}
    # a version of Label Studio that does not tell the numbers: its webhook and the next round bring the tasks
    tasks = ({"id": number, "data": row} for number, row in zip(made.get("task_ids") or (), rows, strict=False))
    return [example for task in tasks if (example := read_example(task, schema)) is not None]
