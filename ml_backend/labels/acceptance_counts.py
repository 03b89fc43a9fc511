"""Counts task by task which drafts were accepted: the cost of one more annotation does not grow with the number of
annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.base import kind_of
from ml_backend.labels.draft_acceptance import DraftAcceptance, DraftUse
from ml_backend.storage import PublishedDraft

AUTHORS = ("teacher", "learner")
Outcome = tuple[str, str]
"""The author of a draft, one of `AUTHORS`, and the result of `Kind.draft_outcome`."""


class AcceptanceCounts:
    """The outcomes of the published tasks of a project for one control, and their counts."""

    def __init__(self, control: ControlSchema) -> None:
        self._control, self._kind = control.name, kind_of(control)
        self._published: set[int] = set()
        self._outcomes: dict[int, Outcome] = {}
        self._counts: Counter[Outcome] = Counter()

    @property
    def published_count(self) -> int:
        """Number of tasks that have been published."""
        return len(self._published)

    def update(self, task: int, published: PublishedDraft | None, annotations: Iterable[Annotation]) -> None:
        """Replaces the outcome of a task.

        published    the drafts that were last published for the task, None if the task was never published
        annotations  all annotations of the task
        """
        counted = [
            annotation
            for annotation in annotations
            if not annotation.cancelled and (label := annotation.labels.get(self._control)) and label.is_read
        ]
        first = min(counted, key=lambda annotation: annotation.id, default=None)
        (self._published.discard if published is None else self._published.add)(task)
        if (previous := self._outcomes.pop(task, None)) is not None:
            self._counts[previous] -= 1
        if published and first and (draft := published.drafts.get(self._control)):
            outcome = draft.author, self._kind.draft_outcome(draft.value, first.labels[self._control].value)
            self._outcomes[task] = outcome
            self._counts[outcome] += 1

    def without(self, tasks: Iterable[int]) -> DraftUse:
        """The use of the drafts. Only the number of published tasks counts the tasks with these ids."""
        counts = self._counts - Counter(self._outcomes[task] for task in tasks if task in self._outcomes)
        names = DraftAcceptance.__dataclass_fields__
        acceptance = {author: DraftAcceptance(**{name: counts[author, name] for name in names}) for author in AUTHORS}
        return DraftUse(self.published_count, acceptance)
