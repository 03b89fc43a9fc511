"""Counts task by task which drafts were accepted: the cost of one more annotation does not grow with the number of
annotations."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ml_backend.core.types import Annotation
from ml_backend.labels.draft_acceptance import DraftAcceptance, DraftUse, annotation_seconds, draft_outcome, time_saved
from ml_backend.storage import PublishedDraft

AUTHORS = ("teacher", "learner")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of one published and annotated task.

    author         "teacher" or "learner", None if the task was published without a draft
    draft_outcome  the result of `draft_acceptance.draft_outcome`, "" without a draft
    seconds        that the annotation took, None if unknown
    """

    author: str | None
    draft_outcome: str
    seconds: float | None


class AcceptanceCounts:
    """The outcomes of the published tasks of a project for one control, and their counts."""

    def __init__(self, control: str) -> None:
        self._control = control
        self._published: set[int] = set()
        self._outcomes: dict[int, _Outcome] = {}
        self._counts: Counter[tuple[str | None, str]] = Counter()  # by author and outcome of the draft
        self._accepted_seconds: list[float] = []  # of annotations with an accepted draft, ascending
        self._blind_seconds: list[float] = []  # of annotations of tasks without a draft, ascending

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
        outcome = None
        if published is not None and first is not None:
            draft, seconds = published.drafts.get(self._control), annotation_seconds(first)
            if draft:
                annotated = first.labels[self._control].value
                outcome = _Outcome(draft.author, draft_outcome(draft.value, annotated), seconds)
            elif not published.drafts:  # else the annotator has seen drafts for other controls
                outcome = _Outcome(None, "", seconds)
        previous = self._outcomes.pop(task, None)
        if previous is not None:
            self._counts[previous.author, previous.draft_outcome] -= 1
            if (timed := self._seconds_of(previous)) is not None and previous.seconds is not None:
                del timed[bisect_left(timed, previous.seconds)]
        if outcome is not None:
            self._outcomes[task] = outcome
            self._counts[outcome.author, outcome.draft_outcome] += 1
            if (timed := self._seconds_of(outcome)) is not None and outcome.seconds is not None:
                insort(timed, outcome.seconds)

    def without(self, tasks: Iterable[int]) -> DraftUse:
        """The use of the drafts. Only the number of published tasks counts the tasks with these ids."""
        counts, accepted, blind = self._counts, self._accepted_seconds, self._blind_seconds
        excluded = [self._outcomes[task] for task in tasks if task in self._outcomes]
        if excluded:
            counts = counts - Counter((outcome.author, outcome.draft_outcome) for outcome in excluded)
            accepted = _without_outcomes(
                accepted, (outcome for outcome in excluded if self._seconds_of(outcome) is self._accepted_seconds)
            )
            blind = _without_outcomes(
                blind, (outcome for outcome in excluded if self._seconds_of(outcome) is self._blind_seconds)
            )
        names = DraftAcceptance.__dataclass_fields__
        acceptance = {author: DraftAcceptance(**{name: counts[author, name] for name in names}) for author in AUTHORS}
        n_accepted = sum(by_author.accepted for by_author in acceptance.values())
        return DraftUse(self.published_count, acceptance, time_saved(n_accepted, accepted, blind))

    def _seconds_of(self, outcome: _Outcome) -> list[float] | None:
        """The list that has the seconds of an outcome, None if the outcome is not in a list."""
        if outcome.author is None:
            return self._blind_seconds
        return self._accepted_seconds if outcome.draft_outcome == "accepted" else None


def _without_outcomes(seconds: list[float], outcomes: Iterable[_Outcome]) -> list[float]:
    """A copy of `seconds`, ascending, without those of the outcomes."""
    remaining = list(seconds)
    for outcome in outcomes:
        if outcome.seconds is not None:
            del remaining[bisect_left(remaining, outcome.seconds)]
    return remaining
