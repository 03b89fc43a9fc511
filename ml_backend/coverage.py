"""What Label Studio counts as answered beside what was learnt from: numbers and codes of where the two differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ml_backend.consensus import Answers
from ml_backend.domain import Annotation, TaskSchema
from ml_backend.store import Store

COMES_AGAIN, FOR_OTHERS = "REQUEUE_FOR_ME", "REQUEUE_FOR_OTHERS"
"""What Label Studio does with a skipped task: it serves it again, to the same annotator or to another one."""


@dataclass(frozen=True, slots=True)
class Unread:
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
    half_done     labelled, and waiting for one more annotator by the project's overlap
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
    unread: tuple[Unread, ...]
    same_answer: tuple[str, ...] | None


def cover(
    store: Store, project: int, schema: TaskSchema, annotations: Iterable[Annotation], answers: Answers
) -> Coverage:
    """Counts a project's tasks, given its standing annotations and what they come to. Tasks without a text are not
    among the labelled ones, whether `answers` has them or not."""
    without_text = store.tasks.without_text(project)
    answers = answers.but_for(without_text)
    standing = np.array([each.task for each in annotations if not each.cancelled], np.int64)
    answered, times = np.unique(standing, return_counts=True)
    skipped = len(np.setdiff1d(answers.touched, answered))
    empty = len(np.setdiff1d(without_text, answers.touched))
    skip_queue, overlap = store.rules.get(project)
    served_again = skipped if skip_queue == COMES_AGAIN else 0
    unread = [(code, n, one.task, _unknown(schema, one)) for code, n, one in store.labels.unread(project)]
    return Coverage(
        labelled=len(answers.tasks),
        skipped=skipped,
        unused=len(answered) - len(answers.tasks),
        without_text=empty,
        to_go=max(store.tasks.count(project) - len(answers.touched) - empty, 0) + served_again,
        half_done=int(np.isin(answered[times < overlap], answers.tasks).sum()),
        skip_queue=skip_queue,
        unread=tuple(Unread(*reason) for reason in unread),
        same_answer=_same(schema, answers),
    )


def _unknown(schema: TaskSchema, answer: Annotation) -> tuple[str, ...]:
    return tuple(choice for choice in answer.choices if choice not in schema.labels)


def _same(schema: TaskSchema, answers: Answers) -> tuple[str, ...] | None:
    if len(answers.tasks) < 2 or np.ptp(answers.targets, axis=0).any():
        return None
    return tuple(label for label, share in zip(schema.labels, answers.targets[0], strict=True) if share)
