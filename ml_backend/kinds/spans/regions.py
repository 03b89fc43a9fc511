"""Reads and writes the regions of `Labels` over a `Text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_backend.core.types import PARTLY_READABLE, Label, LabelValue, TaskContent
from ml_backend.kinds.spans.offsets import find_span
from ml_backend.kinds.spans.schema import SpansSchema

MAX_SPANS = 2000
"""Spans of one annotation that are read."""


def read_label(regions: Sequence[Mapping[str, Any]], control: SpansSchema, content: TaskContent) -> Label:
    """The spans in the regions of one annotation. Without regions, no span is marked, which says something unless the
    control may have been hidden."""
    text = content.displayed(control.source)
    if not isinstance(text, str):
        return Label((), "no text")
    if not regions:
        return Label((), "empty" if control.shown_if else "")
    spans: set[tuple[int, int, str]] = set()
    unread = ""
    for region in regions[:MAX_SPANS]:
        value = region.get("value")
        labels = value.get("labels") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(labels, list):
            unread = unread or "shape"
            continue
        span = find_span(text, value.get("start"), value.get("end"), value.get("text"))
        names = [_name(label, control) for label in labels]
        if span is None:
            unread = "offsets"
        elif not any(names):
            unread = unread or "label"
        spans.update((*span, name) for name in names if span and name)
    if not spans and unread:
        return Label((), unread)
    return Label(tuple(sorted(spans)), PARTLY_READABLE if unread else "")


def _name(stored: Any, control: SpansSchema) -> str:
    """The label that Label Studio stores as `stored`, "" if there is none."""
    if stored in control.stored:
        return control.labels[control.stored.index(stored)]
    return stored if stored in control.labels else ""


def write_regions(value: LabelValue, control: SpansSchema, content: TaskContent) -> list[dict[str, Any]]:
    """A region for each span; [] if a span is not in the text."""
    text = content.displayed(control.source)
    if not isinstance(text, str) or any(end > len(text) for _, end, _ in value):
        return []
    stored = dict(zip(control.labels, control.stored or control.labels, strict=True))
    return [
        {"type": "labels", "value": {"start": start, "end": end, "text": text[start:end], "labels": [stored[label]]}}
        for start, end, label in value
    ]
