"""Reads and writes the regions of `TextArea`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_backend.core.types import MAX_TEXT_CHARACTERS, Label, LabelValue

REGION_TYPE = "textarea"
SEVERAL, LONG = "several texts", "long text"
"""Codes of labels that cannot be learnt from."""
UNREAD_REASONS: Mapping[str, str] = MappingProxyType(
    {
        SEVERAL: 'there are several texts, and it is unknown which one counts: add maxSubmissions="1" to the control',
        LONG: f"the text has more than {MAX_TEXT_CHARACTERS} characters",
    }
)


def read_label(regions: Sequence[Mapping[str, Any]]) -> Label:
    """The text in the regions of one annotation, unchanged. Blank texts do not count, and equal ones count once.
    Without a text there is no label: the annotator may have had nothing to write."""
    own = [region for region in regions if region.get("type", REGION_TYPE) == REGION_TYPE]
    stored = [_stored(region) for region in own]
    if (regions and not own) or None in stored:
        return Label((), "shape")
    texts = {*_texts(stored)}
    if len(texts) > 1:
        return Label((), SEVERAL)
    [text] = texts or {""}
    if len(text) > MAX_TEXT_CHARACTERS:
        return Label((), LONG)
    return Label((text,)) if text else Label((), "empty")


def write_regions(value: LabelValue) -> list[dict[str, Any]]:
    """One region with the text: the labelling screen shows each text of a list as one of its own."""
    texts = [*_texts([[str(text) for text in value]])]
    return [{"type": REGION_TYPE, "value": {"text": texts[:1]}}] if texts else []


def _stored(region: Mapping[str, Any]) -> list[str] | None:
    """The texts of a region, None if they have another form."""
    value = region.get("value")
    texts = value.get("text", []) if isinstance(value, dict) else None
    texts = [texts] if isinstance(texts, str) else texts
    return texts if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else None


def _texts(stored: Sequence[list[str] | None]) -> Iterator[str]:
    yield from (text for texts in stored for text in texts or () if text.strip())
