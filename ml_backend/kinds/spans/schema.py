"""What a control asks whose annotations mark spans of a text."""

from __future__ import annotations

from dataclasses import dataclass, field

from ml_backend.core.schema import ControlSchema


@dataclass(frozen=True, slots=True)
class SpansSchema(ControlSchema):
    """A control that marks spans.

    stored      for each label the value that Label Studio stores; () if it stores the labels themselves
    multiple    whether a region may have several labels; otherwise a further label needs a region of its own
    max_usages  for each label the highest number of regions of a task, 0 for any number; () if no label has a limit
    """

    kind: str = "spans"
    tag: str = "Labels"
    stored: tuple[str, ...] = ()
    multiple: bool = False
    max_usages: tuple[int, ...] = field(default=(), repr=False)  # it changes drafts alone

    @property
    def stored_labels(self) -> tuple[str, ...]:
        """For each label the value that Label Studio stores."""
        return self.stored or self.labels
