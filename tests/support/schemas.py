"""Schemas and labels of projects with one <Choices name="label"> over a <Text name="text" value="$text"/>."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ml_backend.core.schema import ChoicesSchema, ControlSchema, InputSpec, ProjectSchema
from ml_backend.core.types import Annotation, Label, unknown_content
from ml_backend.evaluation.metrics import RowScorer
from ml_backend.kinds.choices.scoring import row_scorer
from ml_backend.label_studio.serialization import read_label

T = TypeVar("T")
CONTROL = "label"


def choices_control(labels: Sequence[str], *, multiple: bool = False, **others: Any) -> ChoicesSchema:
    """`others`: further attributes of the control."""
    return ChoicesSchema(CONTROL, "text", tuple(labels), multiple=multiple, **others)


def fitted_choices(labels: Sequence[str], *, multiple: bool = False, **others: Any) -> ChoicesSchema:
    """The properties of a control with choices that a fit depends on. `others`: further ones of them."""
    return ChoicesSchema(name="", source="", labels=tuple(labels), multiple=multiple, **others)


def plain_choices(multiple: bool) -> ChoicesSchema:
    """A control with choices for a learner, which sees the number of labels in the targets."""
    return fitted_choices((), multiple=multiple)


ONE_CHOICE, SEVERAL_CHOICES = plain_choices(False), plain_choices(True)


def as_choices(control: ControlSchema) -> ChoicesSchema:
    """The control, which must be one with choices."""
    assert isinstance(control, ChoicesSchema)
    return control


def text_schema(labels: Sequence[str], *, multiple: bool = False, **others: Any) -> ProjectSchema:
    """`others`: further attributes of the control."""
    return ProjectSchema(InputSpec(text_field="text"), (choices_control(labels, multiple=multiple, **others),))


def scorer(*, multiple: bool = False) -> RowScorer:
    """The scorer of a control with choices."""
    return row_scorer(choices_control((), multiple=multiple))


def read_only(result: Any, schema: ProjectSchema) -> tuple[tuple[str, ...], str]:
    """The value that is read for the only control in the result of an annotation, and the code if it is unread."""
    [control] = schema.controls
    label = read_label(result, control, schema.control_names, unknown_content(1))
    return label.value, label.unread


def labelled(*choices: str, control: str = CONTROL, unread: str = "") -> dict[str, Label]:
    """The labels of an annotation with one control."""
    return {control: Label(choices, unread)}


def by_control(value: T | None, control: str = CONTROL) -> dict[str, T]:
    """The value of one control, by its name; empty for None."""
    return {} if value is None else {control: value}


def first_of(values: Mapping[str, T]) -> T | None:
    """The value of the first control, None if there is none."""
    return next(iter(values.values()), None)


def only(values: Mapping[str, T]) -> T:
    """The value of the only control."""
    [value] = values.values()
    return value


def chosen(annotation: Annotation) -> tuple[str, ...]:
    """The labels of an annotation with one control, () for a skip."""
    label = first_of(annotation.labels)
    return label.value if label else ()
