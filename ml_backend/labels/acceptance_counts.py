"""How drafts were received, kept task by task: what one more answer costs does not depend on how many there are."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ml_backend.core.types import Annotation
from ml_backend.labels.draft_acceptance import DraftAcceptance, TimeSaved, fate, time_saved, timed
from ml_backend.storage import PublishedDraft

AUTHORS = ("teacher", "learner")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Of one answered task that was shown; `author` is None, and `fate` "", where it was shown without a draft."""

    author: str | None
    fate: str
    seconds: float | None


class AcceptanceCounts:
    """The outcome of every shown task of a project."""

    def __init__(self) -> None:
        self._shown: set[int] = set()
        self._outcomes: dict[int, _Outcome] = {}
        self._counts: Counter[tuple[str | None, str]] = Counter()
        self._accepted: list[float] = []  # seconds of the answers with an accepted draft, ascending
        self._blind: list[float] = []  # and of those without any draft

    @property
    def shown(self) -> int:
        """How many tasks have been shown."""
        return len(self._shown)

    def update(self, task: int, shown: PublishedDraft | None, annotations: Iterable[Annotation]) -> None:
        """What was last shown of a task, and all its annotations, are these from now on."""
        answers = (each for each in annotations if not each.cancelled and each.is_read)
        answer = min(answers, key=lambda each: each.id, default=None)
        (self._shown.discard if shown is None else self._shown.add)(task)
        outcome = None
        if shown is not None and answer is not None:
            outcome = _Outcome(shown.author, fate(shown, answer) if shown.author else "", timed(answer))
        before = self._outcomes.pop(task, None)
        if before is not None:
            self._counts[before.author, before.fate] -= 1
            if (seconds := self._times(before)) is not None and before.seconds is not None:
                del seconds[bisect_left(seconds, before.seconds)]
        if outcome is not None:
            self._outcomes[task] = outcome
            self._counts[outcome.author, outcome.fate] += 1
            if (seconds := self._times(outcome)) is not None and outcome.seconds is not None:
                insort(seconds, outcome.seconds)

    def without(self, tasks: Iterable[int]) -> tuple[dict[str, DraftAcceptance], TimeSaved]:
        """By author, and the time saved, but for some tasks."""
        counts, accepted, blind = self._counts, self._accepted, self._blind
        apart = [self._outcomes[task] for task in tasks if task in self._outcomes]
        if apart:
            counts = counts - Counter((outcome.author, outcome.fate) for outcome in apart)
            accepted = _but(accepted, (each for each in apart if self._times(each) is self._accepted))
            blind = _but(blind, (each for each in apart if self._times(each) is self._blind))
        fates = DraftAcceptance.__dataclass_fields__
        received = {author: DraftAcceptance(**{name: counts[author, name] for name in fates}) for author in AUTHORS}
        return received, time_saved(sum(each.accepted for each in received.values()), accepted, blind)

    def _times(self, outcome: _Outcome) -> list[float] | None:
        if outcome.author is None:
            return self._blind
        return self._accepted if outcome.fate == "accepted" else None


def _but(seconds: list[float], outcomes: Iterable[_Outcome]) -> list[float]:
    left = list(seconds)
    for outcome in outcomes:
        if outcome.seconds is not None:
            del left[bisect_left(left, outcome.seconds)]
    return left
