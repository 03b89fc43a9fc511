"""Counts accepted drafts from all drafts and annotations at once, as a reference for `AcceptanceCounts`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas import chosen, only

from ml_backend.core.types import Annotation
from ml_backend.kinds.choices.kind import CHOICES
from ml_backend.labels.draft_acceptance import DraftAcceptance, TimeSaved, annotation_seconds, time_saved
from ml_backend.storage import PublishedDraft


def pairs(
    drafts: Iterable[PublishedDraft], annotations: Iterable[Annotation]
) -> list[tuple[PublishedDraft, Annotation]]:
    """Returns the draft of each annotated task, with the first annotation that is not cancelled and could be read."""
    first: dict[int, Annotation] = {}
    for annotation in sorted(annotations, key=lambda annotation: annotation.id):
        if not annotation.cancelled and only(annotation.labels).is_read:
            first.setdefault(annotation.task, annotation)
    return [(draft, first[draft.task]) for draft in drafts if draft.task in first]


def received(answered: Iterable[tuple[PublishedDraft, Annotation]]) -> dict[str, DraftAcceptance]:
    """Returns the counts by author, `teacher` and `learner`."""
    fates = [
        (draft.author, CHOICES.draft_outcome(draft.value, chosen(annotation)))
        for published, annotation in answered
        for draft in published.drafts.values()
    ]
    return {
        author: DraftAcceptance(*(fates.count((author, name)) for name in ("accepted", "edited", "replaced")))
        for author in ("teacher", "learner")
    }


def saved(answered: Sequence[tuple[PublishedDraft, Annotation]]) -> TimeSaved:
    accepted = [
        annotation
        for published, annotation in answered
        for draft in published.drafts.values()
        if CHOICES.draft_outcome(draft.value, chosen(annotation)) == "accepted"
    ]
    without_draft = [annotation for published, annotation in answered if not published.drafts]
    seconds = (
        [lead_time for annotation in annotations if (lead_time := annotation_seconds(annotation)) is not None]
        for annotations in (accepted, without_draft)
    )
    return time_saved(len(accepted), *seconds)
