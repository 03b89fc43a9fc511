"""Counts the tasks that Label Studio calls annotated, the tasks that the learner is fitted on, and the difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.arrays import Ints, are_equal
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.kinds.aggregation import AggregatedLabels
from ml_backend.kinds.lookup import kind_of
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.storage import Store

REQUEUE_FOR_ME, REQUEUE_FOR_OTHERS = "REQUEUE_FOR_ME", "REQUEUE_FOR_OTHERS"
"""Label Studio's values of `skip_queue`: a skipped task is served again, to the same annotator or to another one."""


@dataclass(frozen=True, slots=True)
class UnreadAnnotations:
    """Annotations of which a part or all cannot be used for training, for the same reason.

    code     the reason, as in `Label.unread`
    answers  the number of these annotations
    task     the id of a task that has one
    choices  the values of that annotation that are not labels of the project
    """

    code: str
    answers: int
    task: int
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many tasks of a project are in which state.

    labelled      used for training
    skipped       skipped by every annotator who opened them
    unused        annotated, and not used for training
    without_text  not opened, and without a text
    to_go         all others that Label Studio can still serve
    half_done     annotated by fewer annotators than Label Studio requires for each task
    skip_queue    what Label Studio does with skipped tasks, "" if that is unknown
    unread        the annotations that cannot be used as a whole, the most frequent reason first
    same_answer   the labels that every target consists of, None if the targets differ or are fewer than two
    """

    labelled: int
    skipped: int
    unused: int
    without_text: int
    to_go: int
    half_done: int
    skip_queue: str
    unread: tuple[UnreadAnnotations, ...]
    same_answer: tuple[str, ...] | None

    @property
    def lacks_second_label(self) -> bool:
        """Whether there are targets and no two of them differ, so that no learner can be fitted."""
        return self.same_answer is not None or self.labelled == 1

    def unexpected_unread(self, control: ControlSchema, schema: ProjectSchema) -> tuple[UnreadAnnotations, ...]:
        """The annotations that cannot be used as a whole, without those that may well have no label for the control:
        beside other controls, it is normal that one is left empty or is not shown."""
        may_be_empty = len(schema.controls) > 1 and not control.always_answered
        return tuple(unread for unread in self.unread if not (may_be_empty and unread.code == "empty"))


@dataclass(frozen=True, slots=True)
class PoolSize:
    """The number of a project's tasks, and the ids (m,) of those without a text, ascending."""

    tasks: int
    without_text: Ints


def count_coverage(
    store: Store,
    project: int,
    control: ControlSchema,
    aggregated: AggregatedLabels,
    aggregator: LabelAggregator,
    pool_size: PoolSize,
) -> Coverage:
    """Counts a project's tasks by their state in one control.

    aggregated  the targets; tasks without a text have none
    """
    overlaps = aggregator.overlaps
    n_tasks, without_text = pool_size.tasks, pool_size.without_text
    annotated = sum(overlaps.values())
    untouched_without_text = len(np.setdiff1d(without_text, aggregated.annotated_or_skipped, assume_unique=True))
    skipped = len(aggregated.annotated_or_skipped) - annotated
    skip_queue, required_annotations = store.serving_rules.get(project)
    served_again = skipped if skip_queue == REQUEUE_FOR_ME else 0
    return Coverage(
        labelled=len(aggregated.tasks),
        skipped=skipped,
        unused=annotated - len(aggregated.tasks),
        without_text=untouched_without_text,
        half_done=sum(tasks for annotations, tasks in overlaps.items() if annotations < required_annotations),
        to_go=max(n_tasks - len(aggregated.annotated_or_skipped) - untouched_without_text, 0) + served_again,
        skip_queue=skip_queue,
        unread=_unread_annotations(store, project, control, aggregator),
        same_answer=_common_labels(control, aggregated),
    )


def _unread_annotations(
    store: Store, project: int, control: ControlSchema, aggregator: LabelAggregator
) -> tuple[UnreadAnnotations, ...]:
    groups = aggregator.unread(control.name)
    annotations = store.annotations.with_ids(project, [group.annotation for group in groups])
    first = {annotation.id: annotation for annotation in annotations}
    return tuple(
        UnreadAnnotations(
            group.code,
            group.count,
            first[group.annotation].task,
            kind_of(control).unknown_labels(first[group.annotation].labels[control.name], control),
        )
        for group in groups
        if group.annotation in first  # it may just have been deleted
    )


def coverage_from_document(document: Mapping[str, Any]) -> Coverage:
    """The inverse of `dataclasses.asdict` after a round trip through JSON, which turns tuples into lists."""
    unread = tuple(
        UnreadAnnotations(**{**reason, "choices": tuple(reason["choices"])}) for reason in document["unread"]
    )
    labels = document["same_answer"]
    return Coverage(**{**document, "unread": unread, "same_answer": None if labels is None else tuple(labels)})


def _common_labels(control: ControlSchema, aggregated: AggregatedLabels) -> tuple[str, ...] | None:
    if len(aggregated.targets) < 2 or not are_equal(aggregated.targets):
        return None
    [value] = kind_of(control).target_values(control, aggregated.targets[:1])
    return kind_of(control).in_words(control, value)
