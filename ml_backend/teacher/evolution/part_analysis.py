"""The errors of a learner in the parts of drafts, such as spans, with typical examples, and the agreement of several
annotators on parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_backend.core.arrays import Mask, Rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.aggregation import counted_labels
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.parts import PartAgreement, PartCounts, PartError

MAX_EXAMPLES = 3
"""Errors that are quoted for each group of errors."""


@dataclass(frozen=True, slots=True)
class QuotedPart:
    """One error of the learner, quoted from the text of a task.

    annotated   the quote with the part of the annotators, "" without one
    drafted     the quote with the part of the learner, "" without one; without context if `annotated` has it
    confidence  of the learner, 0 without a part
    """

    task: int
    annotated: str
    drafted: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one kind that belong together, see `PartError`. The examples are those of which the learner was surest,
    of different tasks."""

    name: str
    group: str
    count: int
    examples: tuple[QuotedPart, ...]


@dataclass(frozen=True, slots=True)
class PartAnalysis:
    """The errors in the parts of the drafts for n annotated tasks.

    part       the name of the parts
    metric     the name of the metric over all parts
    labels     the numbers of right, drafted and annotated parts by label
    errors     the groups of errors, the most frequent first
    agreement  of several annotators, None if no task has several whose labels can be compared
    """

    part: str
    metric: str
    labels: Mapping[str, PartCounts]
    errors: tuple[ErrorGroup, ...]
    agreement: PartAgreement | None


@dataclass(frozen=True, slots=True)
class JudgedParts:
    """The drafts and the targets (n, ...) of n tasks, with the texts, and which texts may be quoted (n,)."""

    tasks: Sequence[int]
    texts: Sequence[str]
    predicted: Rows
    targets: Rows
    is_quotable: Mask


def analyse_parts(control: ControlSchema, judged: JudgedParts, annotations: Sequence[Annotation]) -> PartAnalysis:
    """Analyses the errors in the drafts for a control whose values have parts. `annotations`: all those of the
    tasks"""
    of_kind = kind_of(control)
    grouped: dict[tuple[str, str], list[PartError]] = defaultdict(list)
    for error in of_kind.part_errors(control, judged.predicted, judged.targets):
        grouped[error.name, error.group].append(error)
    errors = [
        ErrorGroup(name, group, len(of_group), _examples(control, judged, of_group))
        for (name, group), of_group in grouped.items()
    ]
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_task[annotation.task].append(annotation)
    labels = [counted_labels(control, of_task) for of_task in by_task.values()]
    return PartAnalysis(
        part=of_kind.part_name,
        metric=of_kind.main_metric(control),
        labels=of_kind.part_counts(control, judged.predicted, judged.targets),
        errors=tuple(sorted(errors, key=lambda error: (-error.count, error.name, error.group))),
        agreement=of_kind.part_agreement(control, labels),
    )


def _examples(control: ControlSchema, judged: JudgedParts, errors: Sequence[PartError]) -> tuple[QuotedPart, ...]:
    of_row: dict[int, PartError] = {}
    for error in sorted(errors, key=lambda error: -error.confidence):
        if judged.is_quotable[error.row]:
            of_row.setdefault(error.row, error)
    return tuple(_quoted(control, judged, error) for error in list(of_row.values())[:MAX_EXAMPLES])


def _quoted(control: ControlSchema, judged: JudgedParts, error: PartError) -> QuotedPart:
    text, of_kind = judged.texts[error.row], kind_of(control)
    annotated = of_kind.quote(control, error.annotated, text)
    drafted = of_kind.quote(control, error.drafted, text, in_context=not annotated)
    return QuotedPart(judged.tasks[error.row], annotated, drafted, round(error.confidence, 4))
