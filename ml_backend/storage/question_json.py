"""The JSON in which the database holds a question and the probabilities of its answer.

A question with one field has the form that it had before questions could have several fields, so that earlier
questions and answers are found: its labels are under "field", "labels" and "multiple", and "named" is there if the
field has the name of a control. With several fields, they are under "label_fields". Parts of the reply that are no
labels are under "value_fields", if there are any. The probabilities are {field:
{label: probability}}; those of a single field that does not have the name of a control are {label: probability}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats
from ml_backend.core.teacher_types import LABEL, LabelField, Question, ValueField

SINGLE_FIELD = ""
"""Stands for the control of a question with a single field that does not have its name: it may be any control."""


def body_of(question: Question) -> dict[str, Any]:
    """Returns a question as JSON."""
    body = asdict(question)
    if not question.value_fields:
        del body["value_fields"]
    fields = body.pop("fields")
    if len(fields) > 1:
        return {**body, "label_fields": fields}
    field = fields[0] if fields else {"name": "", "labels": (), "multiple": False, "named": False}
    named = {"named": True} if field["named"] else {}
    return {**body, "field": field["name"], "labels": field["labels"], "multiple": field["multiple"], **named}


def question_of(body: Mapping[str, Any]) -> Question:
    """Returns the question that `body_of` has turned into JSON."""
    parts = dict(body)
    examples = tuple((str(text), str(reply)) for text, reply in parts.pop("examples"))
    if "label_fields" in parts:
        fields = parts.pop("label_fields")
    else:
        name, labels, multiple = parts.pop("field"), parts.pop("labels"), parts.pop("multiple")
        field = {"name": name, "labels": labels, "multiple": multiple, "named": parts.pop("named", False)}
        fields = [field] if name else []
    value_fields = tuple(ValueField(**value_field) for value_field in parts.pop("value_fields", ()))
    return Question(
        **parts,
        value_fields=value_fields,
        examples=examples,
        fields=tuple(LabelField(**{**field, "labels": tuple(field["labels"])}) for field in fields),
    )


def shares_json(fields: Sequence[LabelField], shares: Mapping[str, Floats]) -> dict[str, Any]:
    """Returns the probabilities of an answer, by the name of the field, as JSON."""
    by_field = {
        field.name: {
            label: round(float(probability), 6)
            for label, probability in zip(field.labels, shares[field.name], strict=True)
        }
        for field in fields
    }
    is_unnamed = [(field.name, field.named) for field in fields] == [(LABEL, False)]
    return by_field[LABEL] if is_unnamed else by_field


def shares_of(fields: Sequence[LabelField], stored: Mapping[str, Any]) -> dict[str, Floats]:
    """Returns the probabilities that `shares_json` has turned into JSON: (c,) for each field, by its name."""
    if not fields:
        return {}
    is_by_field = any(isinstance(value, Mapping) for value in stored.values())
    by_field = stored if is_by_field else {fields[0].name: stored}
    return {
        field.name: np.array([by_field[field.name][label] for label in field.labels], np.float32) for field in fields
    }


def by_control(stored: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """Returns stored probabilities as control -> label -> probability, with `SINGLE_FIELD` for the control of a single
    field without its name. A label may have the name of a control, but only controls have objects as values."""
    if not stored:
        return {}
    has_controls = any(isinstance(value, Mapping) for value in stored.values())
    return dict(stored) if has_controls else {SINGLE_FIELD: stored}


def values_of(value_fields: Sequence[Mapping[str, str]], content: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Returns the parts of a reply whose probabilities are not needed, by the name of the control and the digest of
    what was asked. `value_fields`: those of the question, as JSON"""
    return {
        (value_field["name"], value_field["digest"]): content[value_field["name"]]
        for value_field in value_fields
        if value_field["name"] in content
    }
