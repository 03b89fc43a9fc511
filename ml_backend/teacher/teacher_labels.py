"""The teacher's labels of a project's tasks, row by row, with the annotators' labels that are expected from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from weakref import WeakKeyDictionary

import numpy as np

from ml_backend.core.arrays import Ints, Mask, Rows, content_bytes, missing_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.types import content_key
from ml_backend.kinds.aggregation import AggregatedLabels
from ml_backend.kinds.base import Doubles
from ml_backend.kinds.lookup import fit_properties, kind_of
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import ReplyTable, Store

_ROWS: WeakKeyDictionary[ReplyTable, dict[ControlSchema, tuple[Ints, Ints, Ints]]] = WeakKeyDictionary()
"""The result of `_rows_of_tasks` for each table of replies, by control, after the task ids that it is valid
for."""


@dataclass(frozen=True, slots=True)
class TeacherLabels:
    """The labels of the m tasks that the teacher has labelled, in ascending order of task ids.

    tasks                     (m,) int64 task ids
    predicted                 (m, ...) what the teacher says; of choices, its probabilities
    expected                  (m, ...) the expected labels of the annotators: `predicted` corrected by
                              `draft_reliability`
    corrected                 (m, ...) the labels that are distilled: `predicted` corrected by
                              `distillation_reliability`, which leaves `predicted` as it is as long as the annotators do
                              not contradict the teacher
    distillation_reliability  the `Kind.reliability` of the teacher, which is trusted
    may_be_distilled          (m,) bool: the label may be distilled. False for a task that was annotated or skipped, and
                              for a label that was given with few-shot examples. Whether a task is in the queue makes no
                              difference, because the distilled labels influence the next queue
    compared                  number of these tasks that the annotators have annotated, without tasks that the teacher
                              wrote
    teacher                   the teacher's name, "" for no teacher
    label_count               number of all labels that the teacher has given, also for earlier sets of labels
    draft_reliability         the `Kind.reliability` of the teacher, which is not trusted
    digest                    of `tasks` and `predicted`: it is equal as long as both are unchanged
    """

    tasks: Ints
    predicted: Rows
    expected: Rows
    corrected: Rows
    distillation_reliability: Doubles
    may_be_distilled: Mask
    compared: int
    teacher: str
    label_count: int
    draft_reliability: Doubles
    digest: str

    def of(self, tasks: Ints) -> Rows:
        """(n, ...) `expected` for the n `tasks`, missing where the teacher has given no label."""
        out = missing_rows(self.expected, len(tasks))
        if len(self.tasks):
            rows = np.minimum(np.searchsorted(self.tasks, tasks), len(self.tasks) - 1)
            is_labelled = self.tasks[rows] == tasks
            out[is_labelled] = self.expected[rows[is_labelled]]
        return out

    def compare(self, aggregated_labels: AggregatedLabels) -> tuple[Rows, Rows]:
        """(k, ...) `predicted` and (k, ...) the annotators' targets of the k tasks that both have labelled."""
        _, teacher_rows, annotator_rows = np.intersect1d(
            self.tasks, aggregated_labels.tasks, assume_unique=True, return_indices=True
        )
        return self.predicted[teacher_rows], aggregated_labels.targets[annotator_rows]


def load_teacher_labels(
    store: Store, teacher: str, control: ControlSchema, pool: PoolContents, project: int,
    aggregated_labels: AggregatedLabels,
) -> TeacherLabels:  # fmt: skip
    """Loads the labels of a teacher from all its replies to questions with the present labels of a control. Each task
    has the newest of these replies to its text."""
    replies, of_kind = store.questions.cached_replies(project, teacher, control), kind_of(control)
    tasks, reply_rows = _rows_of_tasks(replies, pool, control)
    predicted = _predicted(replies, control, reply_rows, store.tasks.texts_of(project, tasks))
    was_without_examples = replies.alone[reply_rows]
    # without generated texts, because the teacher knew the label that it intended for them
    is_real = pool.is_not_generated(aggregated_labels.tasks)
    _, teacher_rows, annotator_rows = np.intersect1d(
        tasks, aggregated_labels.tasks[is_real], assume_unique=True, return_indices=True
    )
    compared = predicted[teacher_rows], aggregated_labels.targets[is_real][annotator_rows]
    distillation_reliability = of_kind.reliability(control, *compared, is_trusted=True)
    draft_reliability = of_kind.reliability(control, *compared, is_trusted=False)
    return TeacherLabels(
        tasks,
        predicted=predicted,
        expected=of_kind.expected(control, predicted, draft_reliability),
        corrected=of_kind.expected(control, predicted, distillation_reliability),
        distillation_reliability=distillation_reliability,
        may_be_distilled=was_without_examples & ~np.isin(tasks, aggregated_labels.annotated_or_skipped),
        compared=len(teacher_rows),
        teacher=teacher,
        label_count=len(replies.keys),
        draft_reliability=draft_reliability,
        digest=sha256(tasks.tobytes() + content_bytes(predicted)).hexdigest(),
    )


def _predicted(replies: ReplyTable, control: ControlSchema, rows: Ints, texts: Texts) -> Rows:
    """(m, ...) the predictions in the replies with these rows (m,) of the table. `texts`: of the m tasks"""
    all_rows, contents = replies.contents(control)
    return kind_of(control).read_replies(control, contents[np.searchsorted(all_rows, rows)], texts)


def _rows_of_tasks(replies: ReplyTable, pool: PoolContents, control: ControlSchema) -> tuple[Ints, Ints]:
    """(m,) the ascending ids of the tasks whose text has a reply for the labels of a control, and (m,) the row of each
    reply. The result is cached as long as the replies and the tasks are the same, because it takes a search through all
    content keys of the pool."""
    cache = _ROWS.setdefault(replies, {})
    cached = cache.get(control)
    if cached is None or cached[0] is not pool.tasks:
        rows, _ = replies.contents(control)
        pool_rows, key_indices = pool.rows_with([replies.keys[row] for row in rows.tolist()])
        order = np.argsort(pool.tasks[pool_rows], kind="stable")
        cached = pool.tasks, pool.tasks[pool_rows[order]], rows[key_indices[order]]
        cache[control] = cached
    return cached[1], cached[2]


def expected_labels_of_texts(
    store: Store, teacher: str, control: ControlSchema, project: int, texts: Sequence[str]
) -> Rows:
    """(n, ...) as `TeacherLabels.of`, for texts and without a pool: the expected labels of the annotators, by the
    reliability that the last round has stored. As in `load_teacher_labels`, the newest reply with the present labels
    counts."""
    of_kind = kind_of(control)
    out = missing_rows(of_kind.as_targets(control, []), len(texts))
    keys = [content_key(text) for text in texts]
    replies = ReplyTable().extended(store.questions.replies(project, teacher, set(keys)))
    rows, _ = replies.contents(control)
    newest = {replies.keys[row]: row for row in rows.tolist()}
    labelled = [i for i, key in enumerate(keys) if key in newest]
    if labelled:
        reply_rows = np.array([newest[keys[i]] for i in labelled], np.int64)
        predicted = _predicted(replies, control, reply_rows, texts_at([texts[i] for i in labelled]))
        stored = store.stats.reliability(project, control.name)
        if stored and (stored.teacher, stored.properties) == (teacher, fit_properties(control)):
            reliability = stored.values
        else:  # no round has compared the teacher with the annotators yet
            reliability = of_kind.reliability(control, predicted[:0], out[:0], is_trusted=False)
        out[labelled] = of_kind.expected(control, predicted, reliability)
    return out


def no_teacher_labels(control: ControlSchema) -> TeacherLabels:
    """The empty labels of a teacher that has labelled no task."""
    of_kind = kind_of(control)
    empty = of_kind.as_targets(control, [])
    distillation_reliability = of_kind.reliability(control, empty, empty, is_trusted=True)
    draft_reliability = of_kind.reliability(control, empty, empty, is_trusted=False)
    return TeacherLabels(
        np.empty(0, np.int64), empty, empty, empty, distillation_reliability, np.empty(0, np.bool_), 0, "", 0,
        draft_reliability, "",
    )  # fmt: skip


def shares(control: ControlSchema, texts: Sequence[str], label_shares: Sequence[Mapping[str, float]]) -> Rows:
    """(m, c) the probabilities in the replies to m texts, each label -> probability, in the columns of the schema. A
    label that a reply does not have gets 0 before they are normalized."""
    rows = [[shares_of_reply.get(label, 0.0) for label in control.labels] for shares_of_reply in label_shares]
    probabilities = np.array(rows, np.float32).reshape(len(rows), len(control.labels))
    return kind_of(control).read_replies(control, probabilities, texts_at(texts))
