"""What a control asks whose annotations are texts."""

from __future__ import annotations

from dataclasses import dataclass, field

from ml_backend.core.schema import ControlSchema


@dataclass(frozen=True, slots=True)
class TextSchema(ControlSchema):
    """A control in which annotators write a text about a task.

    placeholder  what the empty box says
    editable     whether annotators can change a draft in place
    single       whether Label Studio takes a single text
    prefilled    whether the box begins with a text of the task
    """

    kind: str = "text"
    tag: str = "TextArea"
    # these change how annotators see the control, and not how annotations are read
    placeholder: str = field(default="", repr=False)
    editable: bool = field(default=True, repr=False)
    single: bool = field(default=True, repr=False)
    prefilled: bool = field(default=False, repr=False)
