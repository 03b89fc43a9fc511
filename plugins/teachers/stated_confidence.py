"""Asks a teacher in a question how probable it is that its labels are right, and reads what it states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ml_backend.core.teacher_types import LabelField, Question

CONFIDENCE = "confidence"
"""The property of a reply with the stated confidence: a number, or, with several fields, an object with a number for
each of them."""
_INSTRUCTION = 'In "{}", say how probable it is that this is right, from 0 to 1.'
_INSTRUCTION_FOR_SEVERAL = 'In "{}", say for each of them how probable it is that this is right, from 0 to 1.'


def with_confidence(question: Question) -> Question:
    """Returns the question with a confidence in its reply, if its own schema has none."""
    schema, name = question.reply, _property_name(question)
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if name in properties:
        return question
    extended = {"properties": {**properties, name: _schema(question)}, "required": [*required, name]}
    instruction = _INSTRUCTION if len(question.fields) == 1 else _INSTRUCTION_FOR_SEVERAL
    return replace(
        question,
        instructions=f"{question.instructions}\n\n{instruction.format(name)}",
        reply={**schema, **extended},
    )


def without_confidence(question: Question, content: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Returns the content of a reply to `with_confidence(question)` as that of a reply to the question itself."""
    name = _property_name(question)
    if content is None or name in question.reply.get("properties", {}):
        return content
    return {key: value for key, value in content.items() if key != name}


def stated_confidence(question: Question, field: LabelField, content: Mapping[str, Any]) -> float | None:
    """Returns the confidence that a reply states for the labels of a field, None if it states none."""
    value = content.get(_property_name(question))
    if len(question.fields) > 1:
        value = value.get(field.name) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _property_name(question: Question) -> str:
    """Returns a name that no control has."""
    name, value_names = CONFIDENCE, {value_field.name for value_field in question.value_fields}
    while name in value_names.union(field.name for field in question.fields):
        name += "_"
    return name


def _schema(question: Question) -> dict[str, Any]:
    number = {"type": "number"}
    if len(question.fields) == 1:
        return number
    names = [field.name for field in question.fields]
    return {
        "type": "object", "properties": dict.fromkeys(names, number), "required": names, "additionalProperties": False,
    }  # fmt: skip
