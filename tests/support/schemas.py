"""Schemas of projects with one <Choices name="label"> over a <Text name="text" value="$text"/>."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_backend.core.schema import ControlSchema, InputSpec, ProjectSchema


def choices_control(labels: Sequence[str], *, multiple: bool = False, **others: Any) -> ControlSchema:
    """`others`: further attributes of the control."""
    return ControlSchema("label", "text", tuple(labels), multiple, **others)


def text_schema(labels: Sequence[str], *, multiple: bool = False, **others: Any) -> ProjectSchema:
    """`others`: further attributes of the control."""
    return ProjectSchema(InputSpec(text_field="text"), (choices_control(labels, multiple=multiple, **others),))
