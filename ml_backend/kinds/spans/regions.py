"""Reads and writes the regions of `Labels`, `HyperTextLabels` and `ParagraphLabels`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_backend.core.types import PARTLY_READABLE, Label, LabelValue, TaskContent
from ml_backend.kinds.spans.displayed import RegionLocator, places
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import Span

MAX_REGIONS = 2000
"""Regions of one annotation that are read."""
PARTLY = {problem: f"{PARTLY_READABLE} {problem}" for problem in ("offsets", "no label", "shape", "many regions")}
"""The codes of annotations of which some regions cannot be read, by the reason for the first of these regions."""
UNREAD_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "no text": "the task has no text, or one that is too long",
        "offsets": "the marked characters are not in the text of the task",
        "no label": "the marked characters have no label",
        PARTLY["offsets"]: "the marked characters are not in the text of the task",
        PARTLY["no label"]: "the marked characters have no label",
        PARTLY["shape"]: "the regions do not have the form of spans",
        PARTLY["many regions"]: f"only {MAX_REGIONS} regions of an annotation are read",
    }
)


def read_label(regions: Sequence[Mapping[str, Any]], control: SpansSchema, content: TaskContent) -> Label:
    """The spans in the regions of one annotation. Without regions no span is marked, which says something unless the
    control may have been hidden. Regions of other types are ignored unless there are no others. The value also has the
    spans whose labels do not exist."""
    own = [region for region in regions if region.get("type") == control.tag.lower()]
    if regions and not own:
        return Label((), "shape")
    displayed = places(content, control)
    if not displayed.text:
        return Label((), "no text")
    if not own:
        return Label((), "empty" if control.shown_if or control.conditional else "")
    read = [_read_region(region, control, displayed) for region in own[:MAX_REGIONS]]
    spans = tuple(sorted({span for region_spans, _ in read for span in region_spans}))
    problems = [problem for _, problem in read if problem]
    is_known = {span[2] in control.labels for span in spans}
    if True not in is_known and (spans or problems):
        return Label(spans, "label" if spans else problems[0])
    if False in is_known:
        return Label(spans, PARTLY_READABLE)
    if len(own) > MAX_REGIONS:
        problems.append("many regions")
    return Label(spans, PARTLY[problems[0]] if problems else "")


def _read_region(region: Mapping[str, Any], control: SpansSchema, displayed: RegionLocator) -> tuple[list[Span], str]:
    """The spans of a region, one for each of its labels; or none, and why they cannot be read."""
    value = region.get("value")
    if not isinstance(value, dict):
        return [], "shape"
    labels = value.get(control.tag.lower(), [])
    if not isinstance(labels, list):
        return [], "shape"
    if not labels:
        return [], "no label"
    marked = value.get("text")
    span = displayed.find(value, marked if isinstance(marked, str) and marked.strip() else "")
    if span is None:
        return [], "offsets"
    names = dict(zip(control.stored_labels, control.labels, strict=True))
    return [(*span, names.get(str(label), str(label))) for label in labels], ""


def displayable_spans(value: LabelValue, control: SpansSchema, content: TaskContent) -> LabelValue:
    """The spans that can be marked, with their probabilities if they have any."""
    displayed = places(content, control)
    return tuple(span for span in value if _place(displayed, control, *span[:3]) is not None)


def _place(displayed: RegionLocator, control: SpansSchema, start: int, end: int, label: str) -> dict[str, Any] | None:
    """The place of a span, None if it is not in the text, cannot be marked there, or has no label of the control."""
    is_inside = 0 <= start < end <= len(displayed.text) and label in control.labels
    return displayed.place(start, end) if is_inside else None


def write_regions(value: LabelValue, control: SpansSchema, content: TaskContent) -> list[dict[str, Any]]:
    """The regions of spans, each with the probability, if it has one, as its score; [] if one of the spans cannot be
    marked. If a region may have several labels, it has those of all spans with its characters."""
    displayed = places(content, control)
    stored = dict(zip(control.labels, control.stored_labels, strict=True))
    grouped: dict[Any, list[tuple[Any, ...]]] = {}
    for start, end, label, *probability in value:
        key = (start, end) if control.multiple else (start, end, label)
        grouped.setdefault(key, []).append((start, end, label, *probability))
    regions = []
    for spans in grouped.values():
        place = _place(displayed, control, *spans[0][:3])
        if place is None or any(label not in stored for _, _, label, *_ in spans):
            return []
        scores = [probability for _, _, _, *rest in spans for probability in rest]
        regions.append(
            {
                "type": control.tag.lower(),
                "value": {**place, control.tag.lower(): [stored[label] for _, _, label, *_ in spans]},
                **({"score": round(min(scores), 4)} if scores else {}),
            }
        )
    return regions
