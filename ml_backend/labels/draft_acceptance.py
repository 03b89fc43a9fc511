"""Measures how annotators used drafts: which drafts they accepted, how often teacher and learner agree with them, and
how much time drafts saved.

For each task, the last published draft is compared with the first annotation that is neither a skip nor deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from ml_backend.core.arrays import Ints, Rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation, Estimate, EstimateSource
from ml_backend.evaluation.metrics import wilson_interval
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.parts import DraftChanges
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import PublishedDraft

MIN_TIMED_ANNOTATIONS = 5
"""Number of timed annotations with an accepted draft, and of those without a draft, that an estimate of the saved time
needs."""
MAX_ANNOTATION_SECONDS = 600.0
"""An annotation that took longer is not counted as timed: the annotator probably took a break."""


@dataclass(frozen=True, slots=True)
class DraftAcceptance:
    """The numbers of an author's drafts that annotators accepted unchanged, edited (some of several choices are the
    same), or replaced."""

    accepted: int = 0
    edited: int = 0
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the teacher or the learner agrees with the annotators.

    overall   on all tasks that both have labelled
    by_class  label -> agreement on the tasks that have the label, see `Kind.label_agreement`
    """

    overall: Estimate | None = None
    by_class: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimeSaved:
    """The time that drafts have saved: the difference between the median seconds of an annotation without a draft and
    with accepted drafts, times the number of the latter. Drafts for several controls are accepted if the annotation has
    the drafted label in each control that it has a label for. Of labels with parts, edited drafts count as accepted
    ones, and the difference is that of annotations with the same number of parts, see `AnnotationTimes`.

    seconds                        None with fewer than `MIN_TIMED_ANNOTATIONS` of either kind; negative if drafts cost
                                   time
    accepted                       number of annotations with accepted drafts
    timed                          number of timed annotations with accepted drafts
    blind                          number of timed annotations of tasks that were published without a draft, which are
                                   the audit sample
    median_accepted, median_blind  median seconds of an annotation, None if no annotation is timed
    """

    seconds: float | None
    accepted: int
    timed: int
    blind: int
    median_accepted: float | None
    median_blind: float | None


@dataclass(frozen=True, slots=True)
class DraftUse:
    """What became of a project's drafts for a control.

    published   number of tasks that have been in a queue
    acceptance  of the drafts, by author
    changes     of the parts of the drafts, or of what `Kind.changed_part` names, by author; {} if nothing is counted
    """

    published: int
    acceptance: Mapping[str, DraftAcceptance]
    changes: Mapping[str, DraftChanges] = field(default_factory=dict)


def time_saved(accepted: int, with_draft: Sequence[float], without: Sequence[float]) -> TimeSaved:
    """The time that the drafts of `accepted` annotations saved, from the seconds of the timed annotations with accepted
    drafts and without a draft."""
    is_enough = min(len(with_draft), len(without)) >= MIN_TIMED_ANNOTATIONS
    seconds_per_draft = median(without) - median(with_draft) if is_enough else None
    return TimeSaved(
        seconds=None if seconds_per_draft is None else seconds_per_draft * accepted,
        accepted=accepted,
        timed=len(with_draft),
        blind=len(without),
        median_accepted=median(with_draft) if with_draft else None,
        median_blind=median(without) if without else None,
    )


def time_saved_in_groups(groups: Sequence[tuple[int, Sequence[float], Sequence[float]]]) -> TimeSaved:
    """The time that drafts saved in groups of annotations, each of which is compared for itself; the parameters of
    `time_saved` for each group. `seconds` is about the groups with enough timed annotations."""
    n_accepted = sum(accepted for accepted, _, _ in groups)
    with_draft = [seconds for _, of_group, _ in groups for seconds in of_group]
    without = [seconds for _, _, of_group in groups for seconds in of_group]
    by_group = [time_saved(*group).seconds for group in groups]
    known = [seconds for seconds in by_group if seconds is not None]
    return replace(time_saved(n_accepted, with_draft, without), seconds=sum(known) if known else None)


def learner_draft_share(queue: Iterable[PublishedDraft], control: str) -> Estimate | None:
    """The share of the learner's own drafts among the drafts of a queue for one control, None without drafts. A high
    share means that the teacher is hardly needed."""
    authors = [published.drafts[control].author for published in queue if control in published.drafts]
    return wilson_interval(authors.count("learner"), len(authors), EstimateSource.QUEUE)


def agreement(predicted: Rows, targets: Rows, control: ControlSchema, source: EstimateSource) -> Agreement:
    """The agreement of predictions (n, ...) with the annotators' targets (n, ...). `source`: the tasks, for the
    estimates"""
    of_kind = kind_of(control)
    is_right = of_kind.scores(control, predicted, targets) == 1
    by_class = {
        label: estimate
        for label, (agreed, n) in of_kind.label_agreement(control, predicted, targets).items()
        if (estimate := wilson_interval(agreed, n, source))
    }
    return Agreement(wilson_interval(int(is_right.sum()), len(is_right), source), by_class)


def learner_agreement(model: FittedModel | None, control: ControlSchema, excluded: Ints) -> Agreement:
    """The agreement of a control's learner with the annotators, from its held-out predictions for the tasks that it was
    fitted on, not counting the tasks with the ids `excluded`. Empty without a model, and for a model that was fitted on
    other labels."""
    if model is None or not model.snapshot.is_for(control):
        return Agreement()
    snapshot = model.snapshot
    is_counted = ~np.isin(snapshot.tasks, excluded)
    predicted, targets = model.held_out[is_counted], snapshot.targets[is_counted]
    return agreement(predicted, targets, control, EstimateSource.LEARNER_LABELS_CROSS_VALIDATED)


def annotation_seconds(annotation: Annotation) -> float | None:
    """The seconds that an annotation took, None if they are unknown or more than `MAX_ANNOTATION_SECONDS`."""
    seconds = annotation.lead_time
    return seconds if seconds is not None and 0 < seconds <= MAX_ANNOTATION_SECONDS else None
