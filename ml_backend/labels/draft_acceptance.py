"""How the drafts were received: whose were kept, how often teacher and learner agree with the annotators, time saved.

Of each task, the last draft that was published counts as the one that was shown, and the first answer that stands as
the one that was given in sight of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from ml_backend.core.types import Annotation, Estimate, Floats, Ints
from ml_backend.evaluation.metrics import correct, decide, wilson
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import PublishedDraft

FEWEST = 5
"""Timed answers of each kind from which there is something to say on time."""
BY_TEACHER = "answered tasks that it has labelled"
BREAK = 600.0
"""Seconds that nobody thinks about a text: whoever took longer was away."""


@dataclass(frozen=True, slots=True)
class DraftAcceptance:
    """What became of an author's drafts: kept as they were, in part (of several choices), or not at all."""

    accepted: int = 0
    edited: int = 0
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often someone says what the annotators say: on all tasks that both have answered, and by class.

    Of one choice, a class are the tasks that the annotators have given that label. Of several, those where either of
    the two has, so that a label too many counts, too; where annotators are split evenly, neither is right.
    """

    overall: Estimate | None = None
    by_class: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimeSaved:
    """Time that drafts have saved: by how much an answer with an accepted draft was faster, as often as there was one.

    seconds   None with fewer than `FEWEST` timed answers of either kind; below 0 if drafts cost time
    accepted  drafts that were accepted; `timed` of them have a time
    blind     timed answers to tasks that were shown without a draft, those of the audit slice
    median_accepted, median_blind  seconds of an answer, None if none is timed
    """

    seconds: float | None
    accepted: int
    timed: int
    blind: int
    median_accepted: float | None
    median_blind: float | None


def time_saved(accepted: int, with_draft: Sequence[float], without: Sequence[float]) -> TimeSaved:
    """From how many drafts were accepted, and the seconds of the timed answers with an accepted draft and without."""
    each = median(without) - median(with_draft) if min(len(with_draft), len(without)) >= FEWEST else None
    return TimeSaved(
        seconds=None if each is None else each * accepted,
        accepted=accepted,
        timed=len(with_draft),
        blind=len(without),
        median_accepted=median(with_draft) if with_draft else None,
        median_blind=median(without) if without else None,
    )


def learners_share(queue: Iterable[PublishedDraft]) -> Estimate | None:
    """Which share of a queue's drafts are the learner's own: how little the teacher is needed. None without drafts."""
    authors = [each.author for each in queue if each.author is not None]
    return wilson(authors.count("learner"), len(authors), "the published queue")


def agreement(said: Floats, targets: Floats, labels: Sequence[str], multiple: bool, source: str) -> Agreement:
    """Of n tasks. said (n, c) someone's probabilities, targets (n, c) the annotators', labels the c columns."""
    right = correct(said, targets, multiple)
    chosen = decide(said, multiple)
    given = targets > 0.5 if multiple else targets >= targets.max(axis=1, keepdims=True)
    among = (given | chosen) & (targets != 0.5) if multiple else given
    agreed = among & given & chosen
    by_class = {
        label: found
        for column, label in enumerate(labels)
        if (found := wilson(int(agreed[:, column].sum()), int(among[:, column].sum()), source))
    }
    return Agreement(wilson(int(right.sum()), len(right), source), by_class)


def of_learner(known: FittedModel | None, apart: Ints) -> Agreement:
    """Of a learner, cross-validated on its own lesson but for the tasks `apart`. Empty without one."""
    if known is None:
        return Agreement()
    lesson, source = known.lesson, "its own labels, cross-validated"
    counted = ~np.isin(lesson.tasks, apart)
    return agreement(known.held_out[counted], lesson.targets[counted], lesson.labels, lesson.multiple, source)


def fate(draft: PublishedDraft, answer: Annotation) -> str:
    """What became of a draft: `accepted`, `edited` or `replaced`."""
    if set(draft.choices) == set(answer.choices):
        return "accepted"
    return "edited" if set(draft.choices) & set(answer.choices) else "replaced"


def timed(answer: Annotation) -> float | None:
    """The seconds that an answer took, None if nobody knows, or whoever gave it was away."""
    return answer.lead_time if answer.lead_time is not None and 0 < answer.lead_time <= BREAK else None
