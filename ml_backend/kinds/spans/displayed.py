"""The text in which the spans of a control are counted, and the places of its characters on the labelling screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ml_backend.core.schema import ControlSchema, DialogueField
from ml_backend.core.types import MAX_TEXT_CHARACTERS, TaskContent
from ml_backend.kinds.spans.hypertext_regions import HypertextRegions
from ml_backend.kinds.spans.paragraph_regions import ParagraphRegions
from ml_backend.kinds.spans.text_regions import TextRegions

_OBJECT_TAGS = {"Labels": "Text", "HyperTextLabels": "HyperText", "ParagraphLabels": "Paragraphs"}


class RegionLocator(Protocol):
    """Converts the spans of one text to the places in the value of a region, and back."""

    @property
    def text(self) -> str:
        """The text in whose characters spans are counted."""

    def find(self, place: Mapping[str, Any], marked: str) -> tuple[int, int] | None:
        """The span at a place, None if there is none. `marked`: the text that is marked there, "" if it is unknown"""

    def place(self, start: int, end: int) -> dict[str, Any] | None:
        """The place of a span of the text, None if Label Studio cannot mark it."""


def places(content: TaskContent, control: ControlSchema) -> RegionLocator:
    """The places in what the object tag of a control displays of a task."""
    value = content.displayed(control.source)
    tag = control.object_tag.tag if control.object_tag else _OBJECT_TAGS[control.tag]
    attributes = dict(control.object_tag.attributes) if control.object_tag else {}
    if tag == "Paragraphs":
        dialogue = DialogueField("", attributes.get("namekey") or "author", attributes.get("textkey") or "text")
        return ParagraphRegions(value, dialogue, is_sorted=attributes.get("contextscroll") == "true")
    text = str(value) if isinstance(value, str | int | float) else ""
    if tag == "HyperText":
        return HypertextRegions(text, MAX_TEXT_CHARACTERS, inline=attributes.get("inline") == "true")
    text = text[:MAX_TEXT_CHARACTERS]
    return TextRegions(text if text.strip() else "")


def control_text(content: TaskContent, control: ControlSchema) -> str:
    """The text in whose characters the spans of a control are counted: `TaskContent.text`, unless tasks are records."""
    return places(content, control).text
