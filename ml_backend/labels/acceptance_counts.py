"""Counts task by task which drafts were accepted: the cost of one more annotation does not grow with the number of
annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.parts import DraftChanges
from ml_backend.labels.draft_acceptance import DraftAcceptance, DraftUse
from ml_backend.storage import PublishedDraft

AUTHORS = ("teacher", "learner")
Outcomes = Counter[tuple[str, str]]
"""By the author of drafts, one of `AUTHORS`: the number of drafts with each result of `Kind.draft_outcome`, and the
numbers of `Kind.draft_changes`."""


class AcceptanceCounts:
    """The outcomes of the published tasks of a project for one control, and their counts."""

    def __init__(self, control: ControlSchema) -> None:
        self._control, self._kind = control.name, kind_of(control)
        self._published: set[int] = set()
        self._outcomes: dict[int, Outcomes] = {}
        self._counts: Outcomes = Counter()

    @property
    def published_count(self) -> int:
        """Number of tasks that have been published."""
        return len(self._published)

    @property
    def _counts_changes(self) -> bool:
        return bool(self._kind.part_name or self._kind.changed_part)

    def update(
        self, task: int, published: PublishedDraft | None, annotations: Iterable[Annotation], text: str = ""
    ) -> None:
        """Replaces the outcome of a task.

        published    the drafts that were last published for the task, None if the task was never published
        annotations  all annotations of the task
        text         of the task; only needed for a kind of labels with parts
        """
        counted = [
            annotation
            for annotation in annotations
            if not annotation.cancelled and (label := annotation.labels.get(self._control)) and label.is_read
        ]
        first = min(counted, key=lambda annotation: annotation.id, default=None)
        (self._published.discard if published is None else self._published.add)(task)
        if (previous := self._outcomes.pop(task, None)) is not None:
            self._counts.subtract(previous)
        if published and first and (draft := published.drafts.get(self._control)):
            annotated = first.labels[self._control].value
            changes = asdict(self._kind.draft_changes(draft.value, annotated, text)) if self._counts_changes else {}
            counts = {self._kind.draft_outcome(draft.value, annotated): 1, **changes}
            self._outcomes[task] = Counter({(draft.author, name): count for name, count in counts.items()})
            self._counts.update(self._outcomes[task])

    def without(self, tasks: Iterable[int]) -> DraftUse:
        """The use of the drafts. Only the number of published tasks counts the tasks with these ids."""
        counts = self._counts.copy()
        for task in tasks:
            counts.subtract(self._outcomes.get(task, ()))

        def of_author(author: str, names: Iterable[str]) -> dict[str, int]:
            return {name: counts[author, name] for name in names}

        acceptance = {
            author: DraftAcceptance(**of_author(author, DraftAcceptance.__dataclass_fields__)) for author in AUTHORS
        }
        if not self._counts_changes:
            return DraftUse(self.published_count, acceptance)
        changes = {author: DraftChanges(**of_author(author, DraftChanges.__dataclass_fields__)) for author in AUTHORS}
        return DraftUse(self.published_count, acceptance, changes)
