"""A teacher's replies about spans: the part of a question, and the predictions that follow from a reply.

A reply never has offsets, which language models cannot count; `reply_alignment` finds its spans in the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_backend.core.arrays import Rows, object_rows
from ml_backend.core.teacher_types import MAX_TEXT_LENGTH
from ml_backend.core.texts import Texts
from ml_backend.core.types import LabelValue
from ml_backend.kinds.base import ReplyFormat
from ml_backend.kinds.label_list import listed_labels
from ml_backend.kinds.reply_problems import REFUSED, UNUSABLE
from ml_backend.kinds.spans.reply_alignment import SpanFinder
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import Predicted, Span

MAX_EXPECTED_SPANS, TOKENS_PER_SPAN, TOKENS_PER_REPLY = 32, 48, 20
"""Spans of a reply, and the tokens of a span and of the rest of a reply."""
MAX_SPANS = 1000
"""Spans of a reply that are read."""
WORDS_BEFORE = 3
COMPLETE, PARTLY_KNOWN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""The measures of a teacher's prediction. With COMPLETE, the text has no spans but those of the prediction; with
PARTLY_KNOWN, it may have others."""

_DETAILS = f"""For each span: "text", copied from the text without any change; "label"; "occurrence", 1 if it is the
first place where this text stands, 2 for the second; "before", the {WORDS_BEFORE} words before it, or fewer at the
beginning; "p", your probability from 0 to 1 that it is right. Mark each span as often as it occurs. No spans:
{{"spans": [], "ambiguous": false}}. "ambiguous": whether people would disagree. The labels:""".replace("\n", " ")


def reply_format(control: SpansSchema, descriptions: Mapping[str, str], refusal: str) -> ReplyFormat:
    """See `Kind.reply_format`. Instead of a refusal, a reply is ambiguous or has no spans."""
    properties = {
        "text": {"type": "string"},
        "label": {"type": "string", "enum": list(control.labels)},
        "occurrence": {"type": "integer"},
        "before": {"type": "string"},
        "p": {"type": "number"},
    }
    spans = {"type": "array", "items": _object_schema(properties), "maxItems": MAX_EXPECTED_SPANS}
    return ReplyFormat(
        decision="the spans of the text that have one of the labels",
        details=f"{_DETAILS}\n{listed_labels(control, descriptions)}",
        schema=_object_schema({"spans": spans, "ambiguous": {"type": "boolean"}}),
        max_tokens=TOKENS_PER_REPLY + TOKENS_PER_SPAN * MAX_EXPECTED_SPANS,
        identity=["spans", list(control.labels)],
    )


def reply_of(control: SpansSchema, value: LabelValue, text: str) -> dict[str, Any]:
    """See `Kind.reply_of`. Spans that are not in the text are left out."""
    finder = SpanFinder(text)
    spans = [
        {
            "text": text[start:end],
            "label": label,
            "occurrence": finder.occurrence_of(start, end),
            "before": " ".join(text[:start].split()[-WORDS_BEFORE:]),
            "p": 1.0,
        }
        for start, end, label, *_ in value
        if end <= len(text)
    ]
    return {"spans": spans, "ambiguous": False}


def read_replies(control: SpansSchema, replies: Rows, texts: Texts) -> Rows:
    """See `Kind.read_replies`. The drafted spans are those of the reply, with the teacher's probabilities. A reply of
    another form is a missing row; `is_partly_known` says whether the text may have spans that the prediction lacks."""
    read = texts(np.arange(len(replies)))
    return object_rows([_predicted(control, reply, text) for reply, text in zip(replies, read, strict=True)])


def reply_problem(control: SpansSchema, reply: Any, text: str) -> str:
    """See `Kind.reply_problem`. A reply of whose spans some are not found is used: the text is then partly known."""
    predicted = _predicted(control, reply, text)
    if predicted is None:
        return UNUSABLE
    if reply.get("ambiguous"):
        return REFUSED
    return UNUSABLE if is_partly_known(predicted) and not predicted[0] else ""


def is_partly_known(predicted: Predicted) -> bool:
    """Whether a text may have further spans, according to the teacher's prediction for it."""
    return predicted[2] != COMPLETE


def _predicted(control: SpansSchema, reply: Any, text: str) -> Predicted | None:
    items = reply.get("spans") if isinstance(reply, dict) else None
    if not isinstance(items, list):
        return None
    finder = SpanFinder(text[:MAX_TEXT_LENGTH])
    probabilities: dict[Span, float] = {}
    is_complete = len(text) <= MAX_TEXT_LENGTH and len(items) < MAX_EXPECTED_SPANS and not reply.get("ambiguous", False)
    for item in items[:MAX_SPANS]:
        span, is_certain = _read_span(control, item, finder)
        is_complete &= is_certain
        if span:
            probabilities[span] = max(_probability(item.get("p")), probabilities.get(span, 0.0))
    spans = tuple((*span, probability) for span, probability in sorted(probabilities.items()))
    return spans, (), COMPLETE if is_complete else PARTLY_KNOWN


def _read_span(control: SpansSchema, item: Any, finder: SpanFinder) -> tuple[Span | None, bool]:
    """The span of an item of a reply, None if it is not found, and whether it is certain that it means no other."""
    marked, label = (item.get("text"), item.get("label")) if isinstance(item, dict) else (None, None)
    if not isinstance(marked, str) or label not in control.labels:
        return None, False
    occurrence, before = item.get("occurrence"), item.get("before")
    found = finder.find(
        marked,
        occurrence if isinstance(occurrence, int) and not isinstance(occurrence, bool) else None,
        before if isinstance(before, str) else "",
    )
    return ((found.start, found.end, str(label)), found.is_certain) if found else (None, False)


def _probability(stated: Any) -> float:
    """A probability as the teacher states it, within its bounds; 1 if it states none."""
    if not isinstance(stated, int | float) or isinstance(stated, bool):
        return 1.0
    probability = float(min(max(stated, 0), 1))
    return 1.0 if math.isnan(probability) else probability


def _object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
