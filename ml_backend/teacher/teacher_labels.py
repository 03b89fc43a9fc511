"""What the teacher has said of a project's tasks so far, row by row, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from weakref import WeakKeyDictionary

import numpy as np

from ml_backend.core.types import Floats, Ints, Mask, TaskSchema, content_key
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Reply, ReplyTable, Store
from ml_backend.teacher.confusion_model import Doubles, confusion, corrected

_FOUND: WeakKeyDictionary[ReplyTable, tuple[Ints, tuple[str, ...], Ints, Ints]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class TeacherLabels:
    """The m tasks that the teacher has labelled, ascending.

    tasks     (m,) int64
    said      (m, c) what it said, as it said it
    expected  (m, c) what the annotators would say, by what they said of others that it labelled
    corrected (m, c) the same, but as it was said where the annotators have not spoken against it: what is distilled
    record    the `confusion` that `corrected` comes from
    teaches   (m,) bool: may be distilled. Not what has an answer, nor what it said with answers in sight. The queue has
              no say in it: what is distilled makes the next queue
    compared  how many of the tasks, but for those that it wrote, the annotators have answered, too
    teacher   who said it, "" for nobody
    given     how many labels it has given, also before the labels were those of today
    drafting  the `confusion` that `expected` comes from
    digest    of tasks and said: the same as long as nothing more is said, and the tasks are the same
    """

    tasks: Ints
    said: Floats
    expected: Floats
    corrected: Floats
    record: Doubles
    teaches: Mask
    compared: int
    teacher: str
    given: int
    drafting: Doubles
    digest: str

    def of(self, tasks: Ints) -> Floats:
        """(n, c) `expected` of some tasks, NaN where the teacher has said nothing."""
        out = np.full((len(tasks), self.expected.shape[1]), np.nan, np.float32)
        if len(self.tasks):
            at = np.minimum(np.searchsorted(self.tasks, tasks), len(self.tasks) - 1)
            known = self.tasks[at] == tasks
            out[known] = self.expected[at[known]]
        return out

    def compare(self, answers: AggregatedLabels) -> tuple[Floats, Floats]:
        """(k, c) what it said of the tasks that the annotators have answered, too, and what these said."""
        _, mine, theirs = np.intersect1d(self.tasks, answers.tasks, assume_unique=True, return_indices=True)
        return self.said[mine], answers.targets[theirs]


def recall(
    store: Store, teacher: str, schema: TaskSchema, pool: ProjectPool, project: int, answers: AggregatedLabels
) -> TeacherLabels:
    """From all replies of a teacher that knew the labels of today; of tasks with the same text, each has the newest of
    these replies."""
    replies = store.questions.given(project, teacher)
    tasks, of = _tasks_of(replies, pool, schema.labels)
    rows, probabilities = replies.shares(schema.labels)
    said = _summing_to_one(probabilities[np.searchsorted(rows, of)], schema.multiple)
    alone = replies.alone[of]
    real = pool.real(answers.tasks)  # of a text that it wrote itself, it knew what it meant
    _, mine, theirs = np.intersect1d(tasks, answers.tasks[real], assume_unique=True, return_indices=True)
    both, multiple = (said[mine], answers.targets[real][theirs]), schema.multiple
    record, drafting = confusion(*both, multiple, trust=1.0), confusion(*both, multiple)
    return TeacherLabels(
        tasks,
        said,
        expected=corrected(said, drafting, multiple),
        corrected=corrected(said, record, multiple),
        record=record,
        teaches=alone & ~np.isin(tasks, answers.touched),
        compared=len(mine),
        teacher=teacher,
        given=len(replies.keys),
        drafting=drafting,
        digest=sha256(tasks.tobytes() + said.tobytes()).hexdigest(),
    )


def _tasks_of(replies: ReplyTable, pool: ProjectPool, labels: tuple[str, ...]) -> tuple[Ints, Ints]:
    """The tasks with a text that has a reply for these labels, ascending, and the row of the reply of each: found once
    for the same replies and tasks, as all content keys of the pool are looked through."""
    before = _FOUND.get(replies)
    if before is None or before[0] is not pool.tasks or before[1] != labels:
        rows, _ = replies.shares(labels)
        places, of = pool.rows_with([replies.keys[row] for row in rows.tolist()])
        order = np.argsort(pool.tasks[places], kind="stable")
        before = pool.tasks, labels, pool.tasks[places[order]], rows[of[order]]
        _FOUND[replies] = before
    return before[2], before[3]


def of_texts(store: Store, teacher: str, schema: TaskSchema, project: int, texts: Sequence[str]) -> Floats:
    """(n, c) as `Recall.of`, of some texts, for whoever has no pool at hand: by what the last round has found the
    teacher's word to be worth. The newest reply counts that knew the labels of today, as in `recall`."""
    out = np.full((len(texts), len(schema.labels)), np.nan, np.float32)
    keys = [content_key(text) for text in texts]
    replies = ReplyTable().extended(store.questions.replies(project, teacher, set(keys)))
    rows, probabilities = replies.shares(schema.labels)
    newest = {replies.keys[row]: place for place, row in enumerate(rows.tolist())}
    known = [row for row, key in enumerate(keys) if key in newest]
    if known:
        said = _summing_to_one(probabilities[[newest[keys[row]] for row in known]], schema.multiple)
        kept = store.stats.confusion(project)
        if kept and (kept.teacher, kept.labels, kept.multiple) == (teacher, schema.labels, schema.multiple):
            matrix = kept.matrix
        else:  # before a round has compared it with the annotators
            matrix = confusion(out[:0], out[:0], schema.multiple)
        out[known] = corrected(said, matrix, schema.multiple)
    return out


def nothing(schema: TaskSchema) -> TeacherLabels:
    """Of a teacher that has said nothing yet."""
    empty = np.empty((0, len(schema.labels)), np.float32)
    record = confusion(empty, empty, schema.multiple, trust=1.0)
    return TeacherLabels(
        np.empty(0, np.int64), empty, empty, empty, record, np.empty(0, np.bool_), 0, "", 0,
        confusion(empty, empty, schema.multiple), "",
    )  # fmt: skip


def shares(schema: TaskSchema, replies: list[Reply]) -> Floats:
    """(m, c) in the columns of the schema: of a label that the teacher did not know then, nothing."""
    found = [[reply.shares.get(label, 0.0) for label in schema.labels] for reply in replies]
    return _summing_to_one(np.array(found, np.float32).reshape(len(replies), len(schema.labels)), schema.multiple)


def _summing_to_one(shares: Floats, multiple: bool) -> Floats:
    """(m, c) as it is if several labels may hold."""
    if multiple:
        return shares
    out = shares + np.float32(1e-6)  # if none of its labels is left, all are equally likely
    return np.asarray(out / out.sum(axis=1, keepdims=True))
