"""Controls that mark spans, and contents of tasks for each of their object tags."""

from __future__ import annotations

from typing import Any

from ml_backend.core.schema import ObjectTag
from ml_backend.core.types import TaskContent, content_key
from ml_backend.kinds.spans.schema import SpansSchema

OBJECT_TAGS = {"Labels": "Text", "HyperTextLabels": "HyperText", "ParagraphLabels": "Paragraphs"}


def span_control(tag: str, *, attributes: tuple[tuple[str, str], ...] = (), **properties: Any) -> SpansSchema:
    """A control with the labels A and B."""
    object_tag = ObjectTag("shown", OBJECT_TAGS[tag], "$data", attributes)
    return SpansSchema("spans", "shown", ("A", "B"), tag=tag, object_tag=object_tag, **properties)


def displayed_content(value: Any, text: str = "") -> TaskContent:
    """The content of a task whose object tag displays a value."""
    return TaskContent(1, text, content_key(text), {}, {"shown": value})
