"""Labels that teachers have given, cached in memory: a round reads only those that are new since the last one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from ml_backend.core.arrays import Floats, Ints, Mask, Rows, object_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.kinds.lookup import kind_of
from ml_backend.storage.database import Database
from ml_backend.storage.question_json import SINGLE_FIELD, by_control, values_of
from ml_backend.storage.schema import question as table

REPLY_COLUMNS = (table.c.key, table.c.shares, table.c.alone)
VALUE_COLUMNS = (table.c.content, table.c.body["value_fields"].label("value_fields"))
MAX_CACHED_TEACHERS = 64  # pairs of a project and a teacher
OVERLAP_SECONDS = 5.0
"""Rows are read again from so long before the last one, because transactions may end in another order than they began.
A row that is older still changes the count of rows, which makes the cache read all of them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The labels that a teacher gave for one task.

    key     content key of the task's text
    shares  control -> label -> probability; the control is `SINGLE_FIELD` if the question named none
    alone   whether the teacher was shown no annotations
    values  the replies as JSON about controls whose probabilities are not needed, by the name of the control and the
            `ReplyFormat.digest` of the question
    """

    key: bytes
    shares: Mapping[str, Mapping[str, float]]
    alone: bool = True
    values: Mapping[tuple[str, str], Any] = field(default_factory=dict)


def reply_of(row: Any, *, with_values: bool) -> Reply:
    """Returns the reply in a row with the `REPLY_COLUMNS` and, for the values, the `VALUE_COLUMNS`."""
    values = values_of(row.value_fields or (), row.content or {}) if with_values else {}
    return Reply(row.key, by_control(row.shares or {}), row.alone, values)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ReplyTable:
    """The m replies of one teacher in a project, in the order in which it gave them.

    keys    content keys of the texts, m of them
    alone   (m,) bool as in `Reply`
    groups  replies by the control as in `Reply`, and by the c labels that the question offered for it: the rows (k,)
            of the replies, ascending, and their probabilities (k, c)
    values  the other replies by control and digest as in `Reply`: the rows (k,), ascending, and k replies as JSON
    """

    keys: Sequence[bytes] = ()
    alone: Mask = field(default_factory=lambda: np.empty(0, np.bool_))
    groups: Mapping[tuple[str, tuple[str, ...]], tuple[Ints, Floats]] = field(default_factory=dict)
    values: Mapping[tuple[str, str], tuple[Ints, Rows]] = field(default_factory=dict)

    def contents(self, control: ControlSchema) -> tuple[Ints, Rows]:
        """Returns the replies for a control: their rows (k,), ascending, and the probabilities (k, c) of its labels,
        from questions that offered at least these, or the replies (k,) as JSON, if their probabilities were not
        needed."""
        if not kind_of(control).replies_with_labels:
            reply_format = kind_of(control).reply_format(control)
            no_replies = np.empty(0, np.int64), object_rows([])
            return self.values.get((control.name, reply_format.digest), no_replies) if reply_format else no_replies
        labels = control.labels
        rows: list[Ints] = [np.empty(0, np.int64)]
        probabilities: list[Floats] = [np.empty((0, len(labels)), np.float32)]
        for (group_control, offered), (group_rows, group_probabilities) in self.groups.items():
            if group_control in _names(control) and set(labels) <= set(offered):
                rows.append(group_rows)
                probabilities.append(group_probabilities[:, [offered.index(label) for label in labels]])
        all_rows = np.concatenate(rows)
        order = np.argsort(all_rows)
        return all_rows[order], np.concatenate(probabilities)[order]

    def keys_for(self, control: ControlSchema) -> set[bytes]:
        """Returns the content keys of the texts for which a question offered exactly the labels of a control."""
        if not kind_of(control).replies_with_labels:
            rows, _ = self.contents(control)
            return {self.keys[row] for row in rows.tolist()}
        return {
            self.keys[row]
            for (group_control, offered), (rows, _) in self.groups.items()
            if group_control in _names(control) and set(offered) == set(control.labels)
            for row in rows.tolist()
        }

    def extended(self, replies: Sequence[Reply]) -> ReplyTable:
        """Returns a table with these later replies at the end."""
        new_groups: dict[tuple[str, tuple[str, ...]], tuple[list[int], list[list[float]]]] = {}
        for row, reply in enumerate(replies, start=len(self.keys)):
            for control, shares in reply.shares.items():
                rows, probabilities = new_groups.setdefault((control, tuple(shares)), ([], []))
                rows.append(row)
                probabilities.append(list(shares.values()))
        groups = dict(self.groups)
        for group, (new_rows, new_probabilities) in new_groups.items():
            n_labels = len(group[1])
            old_rows, old_probabilities = groups.get(
                group, (np.empty(0, np.int64), np.empty((0, n_labels), np.float32))
            )
            added = np.array(new_probabilities, np.float32).reshape(-1, n_labels)
            groups[group] = (
                np.concatenate([old_rows, np.array(new_rows, np.int64)]),
                np.concatenate([old_probabilities, added]),
            )
        alone = np.concatenate([self.alone, np.array([reply.alone for reply in replies], np.bool_)])
        keys = [*self.keys, *(reply.key for reply in replies)]
        return ReplyTable(keys, alone, groups, self._extended_values(replies))

    def _extended_values(self, replies: Sequence[Reply]) -> dict[tuple[str, str], tuple[Ints, Rows]]:
        values = dict(self.values)
        for control_digest in dict.fromkeys(control_digest for reply in replies for control_digest in reply.values):
            rows, contents = values.get(control_digest, (np.empty(0, np.int64), np.empty(0, object)))
            new = {
                row: reply.values[control_digest]
                for row, reply in enumerate(replies, start=len(self.keys))
                if control_digest in reply.values
            }
            all_rows = np.concatenate([rows, np.array([*new], np.int64)])
            values[control_digest] = all_rows, np.concatenate([contents, object_rows([*new.values()])])
        return values


def _names(control: ControlSchema) -> tuple[str, ...]:
    """The names of a control with labels in replies: a reply that names no control may be for it, unless it is for
    another."""
    return (control.name,) if control.needs_name else (control.name, SINGLE_FIELD)


@dataclass
class _CachedReplies:
    """The replies of one teacher in a project that were read so far."""

    question_ids: set[str] = field(default_factory=set)
    last_answered_at: float = 0.0
    replies: ReplyTable = field(default_factory=ReplyTable)


class Replies:
    """Reads teachers' labels from the table `question`, and caches them. Several threads may use it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, str, bool], _CachedReplies] = OrderedDict()

    def of(self, project: int, teacher: str, *, with_values: bool) -> ReplyTable:
        """Returns all labels of a teacher, including what other processes have added or removed. `with_values`: also
        the replies whose probabilities are not needed, which take longer to read"""
        key = project, teacher, with_values
        with self._lock:
            cached = self._cache.pop(key, _CachedReplies())
            if self._read_new(*key, cached) != len(cached.question_ids):  # rows were removed or are missing
                cached = _CachedReplies()
                self._read_new(*key, cached)
            self._cache[key] = cached
            while len(self._cache) > MAX_CACHED_TEACHERS:
                self._cache.popitem(last=False)
            return cached.replies

    def _read_new(self, project: int, teacher: str, with_values: bool, cached: _CachedReplies) -> int:
        """Adds the rows that are not in the cache, and returns the number of rows in the database."""
        condition = is_teacher_label(project, teacher)
        count = sa.select(sa.func.count()).where(condition)
        query = (
            sa.select(table.c.id, table.c.answered_at, *REPLY_COLUMNS, *(VALUE_COLUMNS if with_values else ()))
            .where(condition, table.c.answered_at >= cached.last_answered_at - OVERLAP_SECONDS)
            .order_by(table.c.answered_at, table.c.id)
        )
        with self._database.read() as connection:
            n = int(connection.execute(count).scalar_one())
            rows: list[Any] = [row for row in connection.execute(query) if row.id not in cached.question_ids]
        if rows:
            cached.question_ids.update(row.id for row in rows)
            cached.last_answered_at = max(cached.last_answered_at, rows[-1].answered_at)
            usable = [row for row in rows if row.key is not None and (with_values or row.shares is not None)]
            replies = [reply_of(row, with_values=with_values) for row in usable]
            cached.replies = cached.replies.extended(replies)
        return n


def is_teacher_label(project: int, teacher: str) -> sa.ColumnElement[bool]:
    """Returns the condition for the rows of `question` that hold a label of this teacher."""
    return sa.and_(
        table.c.project == project, table.c.teacher == teacher, table.c.purpose == "label", table.c.state == "answered"
    )
