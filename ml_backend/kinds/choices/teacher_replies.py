"""A teacher's replies about choices: the part of a question, and the probabilities of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import LabelValue
from ml_backend.kinds.base import ReplyFormat
from ml_backend.kinds.label_list import listed_labels
from ml_backend.kinds.reply_problems import REFUSED, UNSURE

TOKENS_PER_LABEL, TOKENS_PER_FIELD = 24, 20
"""Maximum number of tokens of a label in a reply, and of a property in addition to its labels."""
MAX_EXPECTED_LABELS = 10  # in a reply with several
MIN_LABEL_CONFIDENCE = 0.6
"""Least probability of the teacher's label for a text that it wrote; with several choices, of each label's decision."""


def reply_format(control: ChoicesSchema, descriptions: Mapping[str, str], refusal: str) -> ReplyFormat:
    """See `Kind.reply_format`."""
    labels = (*control.labels, *([refusal] if refusal else []))
    label_schema: dict[str, Any] = {"type": "string", "enum": list(labels)}
    labels_in_reply = min(len(labels), MAX_EXPECTED_LABELS) if control.multiple else 1
    return ReplyFormat(
        decision=_decision(control),
        details=f"The labels:\n{listed_labels(control, descriptions)}",
        schema={"type": "array", "items": label_schema, "uniqueItems": True} if control.multiple else label_schema,
        max_tokens=TOKENS_PER_FIELD + TOKENS_PER_LABEL * labels_in_reply,
        identity=[list(labels), control.multiple, list(control.hints)],
        labels=labels,
        multiple=control.multiple,
    )


def reply_problem(control: ChoicesSchema, probabilities: Floats, labels: LabelValue, refusal: float) -> str:
    """See `Kind.reply_problem`. probabilities: (c,) as the teacher gives them; labels: the draft that follows from
    them"""
    if refusal >= (0.5 if control.multiple else probabilities.max()) or not labels:
        return REFUSED
    if control.multiple:  # the least certain of the decisions
        confidence = np.maximum(probabilities, 1 - probabilities).min()
    else:
        confidence = max(probabilities[control.labels.index(label)] for label in labels)
    return UNSURE if confidence < MIN_LABEL_CONFIDENCE else ""


def normalized(probabilities: Floats, control: ChoicesSchema) -> Floats:
    """(m, c) rows that sum to one for a single choice; the unchanged probabilities for multiple choices."""
    if control.multiple:
        return probabilities
    out = probabilities + np.float32(1e-6)  # a row of zeros becomes uniform
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def _decision(control: ChoicesSchema) -> str:
    if control.antisymmetric:
        return f"which of the two texts, {' or '.join(map(repr, control.labels))}, an annotator would choose"
    return "every label that holds, or none of them" if control.multiple else "the one label that fits best"
