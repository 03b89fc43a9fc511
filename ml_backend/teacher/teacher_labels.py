"""The teacher's labels of a project's tasks, row by row, with the annotators' labels that are expected from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from weakref import WeakKeyDictionary

import numpy as np

from ml_backend.core.arrays import Floats, Ints, Mask
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import content_key
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import ReplyTable, Store
from ml_backend.teacher.confusion_model import Doubles, confusion, corrected

_ROWS: WeakKeyDictionary[ReplyTable, dict[ControlSchema, tuple[Ints, Ints, Ints]]] = WeakKeyDictionary()
"""The result of `_rows_of_tasks` for each table of replies, by control, after the task ids that it is valid
for."""


@dataclass(frozen=True, slots=True)
class TeacherLabels:
    """The labels of the m tasks that the teacher has labelled, in ascending order of task ids.

    tasks                   (m,) int64 task ids
    probabilities           (m, c) the teacher's probabilities
    expected                (m, c) the expected labels of the annotators: `probabilities` corrected by `draft_confusion`
    corrected               (m, c) the labels that are distilled: `probabilities` corrected by `distillation_confusion`,
                            which leaves `probabilities` as it is as long as the annotators do not contradict the
                            teacher
    distillation_confusion  the `confusion` of the teacher, with a prior that trusts it fully
    may_be_distilled        (m,) bool: the label may be distilled. False for a task that was annotated or skipped, and
                            for a label that was given with few-shot examples. Whether a task is in the queue makes no
                            difference, because the distilled labels influence the next queue
    compared                number of these tasks that the annotators have annotated, without tasks that the teacher
                            wrote
    teacher                 the teacher's name, "" for no teacher
    label_count             number of all labels that the teacher has given, also for earlier sets of labels
    draft_confusion         the `confusion` of the teacher, with the prior that it is right in a share TRUST of the
                            cases
    digest                  of `tasks` and `probabilities`: it is equal as long as both are unchanged
    """

    tasks: Ints
    probabilities: Floats
    expected: Floats
    corrected: Floats
    distillation_confusion: Doubles
    may_be_distilled: Mask
    compared: int
    teacher: str
    label_count: int
    draft_confusion: Doubles
    digest: str

    def of(self, tasks: Ints) -> Floats:
        """(n, c) `expected` for the n `tasks`, NaN where the teacher has given no label."""
        out = np.full((len(tasks), self.expected.shape[1]), np.nan, np.float32)
        if len(self.tasks):
            rows = np.minimum(np.searchsorted(self.tasks, tasks), len(self.tasks) - 1)
            is_labelled = self.tasks[rows] == tasks
            out[is_labelled] = self.expected[rows[is_labelled]]
        return out

    def compare(self, aggregated_labels: AggregatedLabels) -> tuple[Floats, Floats]:
        """(k, c) `probabilities` and (k, c) the annotators' targets of the k tasks that both have labelled."""
        _, teacher_rows, annotator_rows = np.intersect1d(
            self.tasks, aggregated_labels.tasks, assume_unique=True, return_indices=True
        )
        return self.probabilities[teacher_rows], aggregated_labels.targets[annotator_rows]


def load_teacher_labels(
    store: Store, teacher: str, control: ControlSchema, pool: PoolContents, project: int,
    aggregated_labels: AggregatedLabels,
) -> TeacherLabels:  # fmt: skip
    """Loads the labels of a teacher from all its replies to questions with the present labels of a control. Each task
    has the newest of these replies to its text."""
    replies, multiple = store.questions.cached_replies(project, teacher), control.multiple
    tasks, reply_rows = _rows_of_tasks(replies, pool, control)
    rows, shares_of_rows = replies.shares(control)
    probabilities = _normalized(shares_of_rows[np.searchsorted(rows, reply_rows)], multiple)
    was_without_examples = replies.alone[reply_rows]
    # without generated texts, because the teacher knew the label that it intended for them
    is_real = pool.is_not_generated(aggregated_labels.tasks)
    _, teacher_rows, annotator_rows = np.intersect1d(
        tasks, aggregated_labels.tasks[is_real], assume_unique=True, return_indices=True
    )
    compared = probabilities[teacher_rows], aggregated_labels.targets[is_real][annotator_rows]
    distillation_confusion, draft_confusion = confusion(*compared, multiple, trust=1.0), confusion(*compared, multiple)
    return TeacherLabels(
        tasks,
        probabilities=probabilities,
        expected=corrected(probabilities, draft_confusion, multiple),
        corrected=corrected(probabilities, distillation_confusion, multiple),
        distillation_confusion=distillation_confusion,
        may_be_distilled=was_without_examples & ~np.isin(tasks, aggregated_labels.annotated_or_skipped),
        compared=len(teacher_rows),
        teacher=teacher,
        label_count=len(replies.keys),
        draft_confusion=draft_confusion,
        digest=sha256(tasks.tobytes() + probabilities.tobytes()).hexdigest(),
    )


def _rows_of_tasks(replies: ReplyTable, pool: PoolContents, control: ControlSchema) -> tuple[Ints, Ints]:
    """(m,) the ascending ids of the tasks whose text has a reply for the labels of a control, and (m,) the row of each
    reply. The result is cached as long as the replies and the tasks are the same, because it takes a search through all
    content keys of the pool."""
    cache = _ROWS.setdefault(replies, {})
    cached = cache.get(control)
    if cached is None or cached[0] is not pool.tasks:
        rows, _ = replies.shares(control)
        pool_rows, key_indices = pool.rows_with([replies.keys[row] for row in rows.tolist()])
        order = np.argsort(pool.tasks[pool_rows], kind="stable")
        cached = pool.tasks, pool.tasks[pool_rows[order]], rows[key_indices[order]]
        cache[control] = cached
    return cached[1], cached[2]


def expected_labels_of_texts(
    store: Store, teacher: str, control: ControlSchema, project: int, texts: Sequence[str]
) -> Floats:
    """(n, c) as `TeacherLabels.of`, for texts and without a pool: the expected labels of the annotators, by the
    confusion matrix that the last round has stored. As in `load_teacher_labels`, the newest reply with the present
    labels counts."""
    out = np.full((len(texts), len(control.labels)), np.nan, np.float32)
    keys = [content_key(text) for text in texts]
    replies = ReplyTable().extended(store.questions.replies(project, teacher, set(keys)))
    rows, shares_of_rows = replies.shares(control)
    newest = {replies.keys[row]: i for i, row in enumerate(rows.tolist())}
    labelled = [i for i, key in enumerate(keys) if key in newest]
    if labelled:
        probabilities = _normalized(shares_of_rows[[newest[keys[i]] for i in labelled]], control.multiple)
        stored = store.stats.confusion(project, control.name)
        if stored and (stored.teacher, stored.labels, stored.multiple) == (teacher, control.labels, control.multiple):
            matrix = stored.matrix
        else:  # no round has compared the teacher with the annotators yet
            matrix = confusion(out[:0], out[:0], control.multiple)
        out[labelled] = corrected(probabilities, matrix, control.multiple)
    return out


def no_teacher_labels(control: ControlSchema) -> TeacherLabels:
    """The empty labels of a teacher that has labelled no task."""
    empty = np.empty((0, len(control.labels)), np.float32)
    distillation_confusion = confusion(empty, empty, control.multiple, trust=1.0)
    return TeacherLabels(
        np.empty(0, np.int64), empty, empty, empty, distillation_confusion, np.empty(0, np.bool_), 0, "", 0,
        confusion(empty, empty, control.multiple), "",
    )  # fmt: skip


def shares(control: ControlSchema, label_shares: Sequence[Mapping[str, float]]) -> Floats:
    """(m, c) the probabilities of m replies, each label -> probability, in the columns of the schema. A label that a
    reply does not have gets 0 before they are normalized."""
    rows = [[shares_of_reply.get(label, 0.0) for label in control.labels] for shares_of_reply in label_shares]
    return _normalized(np.array(rows, np.float32).reshape(len(rows), len(control.labels)), control.multiple)


def _normalized(probabilities: Floats, multiple: bool) -> Floats:
    """(m, c) rows that sum to one for a single choice; the unchanged probabilities for multiple choices."""
    if multiple:
        return probabilities
    out = probabilities + np.float32(1e-6)  # a row of zeros becomes uniform
    return np.asarray(out / out.sum(axis=1, keepdims=True))
