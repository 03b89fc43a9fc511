"""What Label Studio counts as answered beside what was learnt from: numbers and codes of where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.core.types import Annotation, Ints, TaskSchema
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.storage import Store

COMES_AGAIN, FOR_OTHERS = "REQUEUE_FOR_ME", "REQUEUE_FOR_OTHERS"
"""What Label Studio does with a skipped task: it serves it again, to the same annotator or to another one."""


@dataclass(frozen=True, slots=True)
class UnreadAnswers:
    """Answers that cannot be learnt from, or not as a whole: why, as a code of `Annotation.unread`; how many; the task
    of one of them, and what is no label there."""

    code: str
    answers: int
    task: int
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the tasks of a project stand.

    labelled      learnt from; `skipped`: nobody has answered; `unused`: answered, and not learnt from; `without_text`:
                  open, and without a text; `to_go`: all others that Label Studio can still serve
    skip_queue    what Label Studio does with skipped tasks, "" if that is unknown
    half_done     answered by fewer annotators than Label Studio wants for each task
    unread        the answers that cannot be learnt from, or not as a whole, the most frequent reason first
    same_answer   the labels that every answer consists of, None if the answers differ or are fewer than two
    """

    labelled: int
    skipped: int
    unused: int
    without_text: int
    to_go: int
    half_done: int
    skip_queue: str
    unread: tuple[UnreadAnswers, ...]
    same_answer: tuple[str, ...] | None


def count(
    store: Store,
    project: int,
    schema: TaskSchema,
    answers: AggregatedLabels,
    overlaps: Mapping[int, int],
    without_text: Ints,
    tasks: int,
) -> Coverage:
    """Counts a project's tasks.

    answers       what the annotations come to: none of tasks without a text
    overlaps      how many tasks have how many answers, from 1 on; `without_text`: those that have none; `tasks`: how
                  many there are
    """
    answered = sum(overlaps.values())
    empty = len(np.setdiff1d(without_text, answers.touched, assume_unique=True))
    skipped = len(answers.touched) - answered
    skip_queue, wanted = store.rules.get(project)
    served_again = skipped if skip_queue == COMES_AGAIN else 0
    unread = [(code, n, one.task, _unknown(schema, one)) for code, n, one in store.labels.unread(project)]
    return Coverage(
        labelled=len(answers.tasks),
        skipped=skipped,
        unused=answered - len(answers.tasks),
        without_text=empty,
        half_done=sum(tasks for times, tasks in overlaps.items() if times < wanted),
        to_go=max(tasks - len(answers.touched) - empty, 0) + served_again,
        skip_queue=skip_queue,
        unread=tuple(UnreadAnswers(*reason) for reason in unread),
        same_answer=_same(schema, answers),
    )


def _unknown(schema: TaskSchema, answer: Annotation) -> tuple[str, ...]:
    return tuple(choice for choice in answer.choices if choice not in schema.labels)


def read(document: Mapping[str, Any]) -> Coverage:
    """What `dataclasses.asdict` made a document of, and JSON lists."""
    unread = tuple(UnreadAnswers(**{**reason, "choices": tuple(reason["choices"])}) for reason in document["unread"])
    same = document["same_answer"]
    return Coverage(**{**document, "unread": unread, "same_answer": None if same is None else tuple(same)})


def _same(schema: TaskSchema, answers: AggregatedLabels) -> tuple[str, ...] | None:
    if len(answers.tasks) < 2 or (answers.targets[0] != answers.targets[-1]).any():  # as with most projects
        return None
    if np.ptp(answers.targets, axis=0).any():
        return None
    return tuple(label for label, share in zip(schema.labels, answers.targets[0], strict=True) if share)
