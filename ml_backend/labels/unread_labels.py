"""Counts the labels of one control that cannot be learnt from, task by task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ml_backend.core.types import Annotation


@dataclass(frozen=True, slots=True)
class UnreadGroup:
    """Labels that cannot be learnt from, or only in part, for the same reason.

    code        the reason, as in `Label.unread`
    count       the number of these labels
    annotation  the id of the first annotation that has one
    """

    code: str
    count: int
    annotation: int


class UnreadLabels:
    """The unread labels of one control."""

    def __init__(self, control: str) -> None:
        self._control = control
        self._annotations: dict[str, set[int]] = defaultdict(set)  # ids, by the code of their labels
        self._of_task: dict[int, list[tuple[str, int]]] = {}  # code and id of the annotation

    def update(self, task: int, annotations: Iterable[Annotation]) -> None:
        """Replaces the labels of a task; `annotations` are all that it has now."""
        for code, annotation_id in self._of_task.pop(task, ()):
            self._annotations[code].discard(annotation_id)
        unread = [
            (label.unread, annotation.id)
            for annotation in annotations
            if (label := annotation.labels.get(self._control)) and label.unread
        ]
        for code, annotation_id in unread:
            self._annotations[code].add(annotation_id)
        if unread:
            self._of_task[task] = unread

    def groups(self) -> list[UnreadGroup]:
        """One group for each reason, the most frequent first."""
        groups = [UnreadGroup(code, len(ids), min(ids)) for code, ids in self._annotations.items() if ids]
        return sorted(groups, key=lambda group: (-group.count, group.code))
