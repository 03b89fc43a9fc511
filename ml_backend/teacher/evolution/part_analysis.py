"""The errors of a learner in the parts of drafts, such as spans, with typical examples, and the agreement of several
annotators on parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from ml_backend.core.arrays import Mask, Rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import Annotation
from ml_backend.kinds.aggregation import counted_labels
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.parts import PartAgreement, PartCounts, PartError

MAX_EXAMPLES = 3
"""Errors that are quoted for each group of errors."""
MAX_WRONG, MAX_RIGHT = 12, 6
"""Texts with an error and without one that are quoted for a teacher."""


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
    """Errors of one kind that belong together, see `PartError`, and the ids of their tasks. The examples are those of
    which the learner was surest, of different tasks."""

    name: str
    group: str
    count: int
    examples: tuple[QuotedPart, ...]
    tasks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuotedDraft:
    """A text with all parts of the annotators, and with those of the learner's draft.

    annotated, drafted  a quote with the parts, "" without parts
    errors              the kinds of the errors in the draft, in words
    """

    task: int
    text: str
    annotated: str
    drafted: str
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartAnalysis:
    """The errors in the parts of the drafts for n annotated tasks.

    part       the name of the parts
    metric     the name of the metric over all parts
    labels     the numbers of right, drafted and annotated parts by label
    errors     the groups of errors, the most frequent first
    agreement  of several annotators, None if no task has several whose labels can be compared
    wrong      some of the drafts with an error, of different groups of errors
    right      some of the drafts without an error, those with parts first
    """

    part: str
    metric: str
    labels: Mapping[str, PartCounts]
    errors: tuple[ErrorGroup, ...]
    agreement: PartAgreement | None
    wrong: tuple[QuotedDraft, ...] = ()
    right: tuple[QuotedDraft, ...] = ()


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
    errors = of_kind.part_errors(control, judged.predicted, judged.targets)
    grouped: dict[tuple[str, str], list[PartError]] = defaultdict(list)
    for error in errors:
        grouped[error.name, error.group].append(error)
    groups = [
        ErrorGroup(
            name,
            group,
            len(of_group),
            _examples(control, judged, of_group),
            tuple(dict.fromkeys(judged.tasks[error.row] for error in of_group)),
        )
        for (name, group), of_group in sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    by_task: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_task[annotation.task].append(annotation)
    labels = [counted_labels(control, of_task) for of_task in by_task.values()]
    return PartAnalysis(
        part=of_kind.part_name,
        metric=of_kind.main_metric(control),
        labels=of_kind.part_counts(control, judged.predicted, judged.targets),
        errors=tuple(groups),
        agreement=of_kind.part_agreement(control, labels),
        wrong=_quoted_drafts(control, judged, errors, _wrong_rows(judged, grouped)),
        right=_quoted_drafts(control, judged, errors, _right_rows(control, judged, errors)),
    )


def in_words(error: PartError) -> str:
    """What is wrong, without a quote."""
    return f"{error.name}: {error.group}"


def _wrong_rows(judged: JudgedParts, grouped: Mapping[tuple[str, str], Sequence[PartError]]) -> list[int]:
    """At most MAX_WRONG rows with an error that may be quoted, of each group of errors in turn: the most frequent group
    first, and of a group the errors of which the learner was surest."""
    largest_first = sorted(grouped.values(), key=lambda errors: -len(errors))
    surest_first = [sorted(errors, key=lambda error: -error.confidence) for errors in largest_first]
    rows = [error.row for errors in zip_longest(*surest_first) for error in errors if error is not None]
    return [row for row in dict.fromkeys(rows) if judged.is_quotable[row]][:MAX_WRONG]


def _right_rows(control: ControlSchema, judged: JudgedParts, errors: Sequence[PartError]) -> list[int]:
    """At most MAX_RIGHT rows without an error that may be quoted: those with parts first, then the surest."""
    drafts = kind_of(control).drafts(control, judged.predicted)
    is_wrong = np.zeros(len(drafts), np.bool_)
    is_wrong[[error.row for error in errors]] = True
    rows = np.flatnonzero(judged.is_quotable & ~is_wrong).tolist()
    right = [(not draft[0], -draft[1], row) for row in rows if (draft := drafts[row])]
    return [row for *_, row in sorted(right)][:MAX_RIGHT]


def _quoted_drafts(
    control: ControlSchema, judged: JudgedParts, errors: Sequence[PartError], rows: Sequence[int]
) -> tuple[QuotedDraft, ...]:
    of_kind = kind_of(control)
    errors_by_row: dict[int, list[str]] = defaultdict(list)
    for error in errors:
        errors_by_row[error.row].append(in_words(error))
    drafts = of_kind.drafts(control, judged.predicted[rows])
    values = of_kind.target_values(control, judged.targets[rows])
    return tuple(
        QuotedDraft(
            judged.tasks[row],
            judged.texts[row],
            of_kind.quote(control, value, judged.texts[row]),
            of_kind.quote(control, draft[0] if draft else (), judged.texts[row]),
            tuple(errors_by_row[row]),
        )
        for row, value, draft in zip(rows, values, drafts, strict=True)
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
