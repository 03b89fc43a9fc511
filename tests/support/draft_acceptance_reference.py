"""How drafts were received, counted from all shown drafts and all annotations at once: what `Reception` must equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ml_backend.core.types import Annotation
from ml_backend.labels.draft_acceptance import DraftAcceptance, TimeSaved, fate, time_saved, timed
from ml_backend.storage import PublishedDraft


def pairs(
    shown: Iterable[PublishedDraft], annotations: Iterable[Annotation]
) -> list[tuple[PublishedDraft, Annotation]]:
    """What was shown of each answered task, with the first answer that stands and could be read."""
    first: dict[int, Annotation] = {}
    for each in sorted(annotations, key=lambda annotation: annotation.id):
        if not each.cancelled and each.is_read:
            first.setdefault(each.task, each)
    return [(each, first[each.task]) for each in shown if each.task in first]


def received(answered: Iterable[tuple[PublishedDraft, Annotation]]) -> dict[str, DraftAcceptance]:
    """By author, `teacher` and `learner`."""
    fates = [(draft.author, fate(draft, answer)) for draft, answer in answered]
    return {
        author: DraftAcceptance(*(fates.count((author, name)) for name in ("accepted", "edited", "replaced")))
        for author in ("teacher", "learner")
    }


def saved(answered: Sequence[tuple[PublishedDraft, Annotation]]) -> TimeSaved:
    accepted = [answer for draft, answer in answered if draft.author and fate(draft, answer) == "accepted"]
    without = [answer for draft, answer in answered if draft.author is None]
    seconds = ([found for each in some if (found := timed(each)) is not None] for some in (accepted, without))
    return time_saved(len(accepted), *seconds)
