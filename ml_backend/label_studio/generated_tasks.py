"""Imports texts that a teacher has generated into Label Studio, as tasks that are marked in their data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ml_backend.core.schema import InputSpec
from ml_backend.core.types import SYNTHETIC_FIELD, TaskContent
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import read_task_content, read_timestamp
from ml_backend.label_studio.sync import changed_since

IMPORT_TIMEOUT_SECONDS = 120.0
MAX_CLOCK_DIFFERENCE = timedelta(days=1)  # between this machine and Label Studio


def import_generated_texts(
    client: LabelStudioClient, project: int, input_spec: InputSpec, texts: Mapping[str, str], since: str
) -> list[TaskContent]:
    """Imports the texts that are not yet in the project, and returns the contents of the new tasks.

    texts  generated text -> whether it is meant to be hard or easy
    since  time before which no text of this generation was imported (ISO text in UTC). Texts that were imported later
           are found in Label Studio and not imported again, also if the process was killed before it noted the import

    Raises LabelStudioError.
    """
    earliest = read_timestamp((datetime.fromisoformat(since) - MAX_CLOCK_DIFFERENCE).isoformat())
    imported: set[str] = set()
    filters = [changed_since(earliest)]
    for page in client.task_pages(project, filters=filters, fields="task_only", include="id,data,updated_at"):
        imported |= {
            content.text
            for task in page
            if (content := read_task_content(task, input_spec)) is not None and SYNTHETIC_FIELD in content.fields
        }
    rows: list[dict[str, Any]] = [
        {input_spec.text_field: text, SYNTHETIC_FIELD: kind} for text, kind in texts.items() if text not in imported
    ]
    if not rows:
        return []
    path = f"api/projects/{project}/import"
    params = {"return_task_ids": "true"}
    response = client.call("POST", path, body=rows, params=params, timeout=IMPORT_TIMEOUT_SECONDS) or {}
    # if this version of Label Studio returns no ids, its webhook and the next round bring the tasks
    tasks = ({"id": task_id, "data": row} for task_id, row in zip(response.get("task_ids") or (), rows, strict=False))
    return [content for task in tasks if (content := read_task_content(task, input_spec)) is not None]
