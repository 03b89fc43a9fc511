"""Collects task by task how long annotations take with and without drafts. An annotation has one duration, however many
controls it has labels for, so that the time that drafts saved is counted once for all controls."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation, Label, LabelValue
from ml_backend.kinds.lookup import kind_of
from ml_backend.labels.draft_acceptance import TimeSaved, annotation_seconds, time_saved_in_groups
from ml_backend.storage import PublishedDraft


@dataclass(frozen=True, slots=True)
class _Duration:
    """The duration of the annotation of a published task.

    has_drafts  whether its drafts were used, see `AnnotationTimes`; False if the task was published without a draft
    parts       the number of parts of its labels, 0 if the kinds of labels have no parts
    seconds     None if unknown
    """

    has_drafts: bool
    parts: int
    seconds: float | None


class AnnotationTimes:
    """The durations of the annotations of a project's published tasks: of those that used the drafts for all controls
    that they have labels for, and of those of tasks without a draft. A draft was used if it was accepted. A draft with
    parts was also used if it was edited, because each part that is kept saves work. As an annotation with more parts
    takes longer, only annotations with the same number of parts are compared."""

    def __init__(self, controls: Sequence[ControlSchema]) -> None:
        self._kinds = {control.name: kind_of(control) for control in controls}
        self._durations: dict[int, _Duration] = {}
        self._accepted: Counter[int] = Counter()  # number of durations with drafts, by `parts`
        # known ones by `parts` and `has_drafts`, ascending
        self._seconds: dict[int, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})

    def update(self, task: int, published: PublishedDraft | None, annotations: Iterable[Annotation]) -> None:
        """Replaces the duration of a task; the parameters are those of `AcceptanceCounts.update`."""
        previous = self._durations.pop(task, None)
        if previous is not None:
            self._accepted[previous.parts] -= previous.has_drafts
            if previous.seconds is not None:
                _remove(self._seconds[previous.parts][previous.has_drafts], previous.seconds)
        current = None if published is None else self._duration(published, annotations)
        if current is not None:
            self._durations[task] = current
            self._accepted[current.parts] += current.has_drafts
            if current.seconds is not None:
                insort(self._seconds[current.parts][current.has_drafts], current.seconds)

    def without(self, tasks: Iterable[int]) -> TimeSaved:
        """The time that the drafts saved, not counting the tasks with these ids."""
        excluded = [self._durations[task] for task in tasks if task in self._durations]
        groups = []
        for parts in sorted({0, *self._accepted, *self._seconds}):
            of_group = [duration for duration in excluded if duration.parts == parts]
            n_accepted = self._accepted[parts] - sum(duration.has_drafts for duration in of_group)
            with_drafts, without_draft = (
                _without(seconds, (duration.seconds for duration in of_group if duration.has_drafts == has_drafts))
                for has_drafts, seconds in self._seconds[parts].items()
            )
            groups.append((n_accepted, with_drafts, without_draft))
        return time_saved_in_groups(groups)

    def _duration(self, published: PublishedDraft, annotations: Iterable[Annotation]) -> _Duration | None:
        """The duration of the first annotation that has a label; None if there is none, or if a draft was not
        used."""
        labelled = [
            (annotation, labels)
            for annotation in annotations
            if not annotation.cancelled and (labels := self._read_labels(annotation))
        ]
        if not labelled:
            return None
        first, labels = min(labelled, key=lambda pair: pair[0].id)
        are_used = {
            self._is_used(name, draft.value, labels[name].value)
            for name, draft in published.drafts.items()
            if name in labels
        }
        is_counted = are_used == {True} or not published.drafts
        if not is_counted:
            return None
        n_parts = sum(
            self._kinds[name].draft_changes((), label.value, "").added
            for name, label in labels.items()
            if self._kinds[name].part_name
        )
        return _Duration(bool(published.drafts), n_parts, annotation_seconds(first))

    def _is_used(self, control: str, drafted: LabelValue, annotated: LabelValue) -> bool:
        outcome = self._kinds[control].draft_outcome(drafted, annotated)
        return outcome == "accepted" or (outcome == "edited" and bool(self._kinds[control].part_name))

    def _read_labels(self, annotation: Annotation) -> dict[str, Label]:
        labels = ((name, annotation.labels.get(name)) for name in self._kinds)
        return {name: label for name, label in labels if label and label.is_read}


def _without(seconds: list[float], excluded: Iterable[float | None]) -> list[float]:
    """The `seconds`, ascending, without the `excluded` ones; in most cases none is excluded, and nothing is copied."""
    known = [value for value in excluded if value is not None]
    if not known:
        return seconds
    remaining = list(seconds)
    for value in known:
        _remove(remaining, value)
    return remaining


def _remove(seconds: list[float], value: float) -> None:
    del seconds[bisect_left(seconds, value)]
