"""The labels that teachers have given, kept in memory: a round reads those alone that came since the last one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from ml_backend.core.types import Floats, Ints, Mask
from ml_backend.storage.database import Database
from ml_backend.storage.schema import question as table

MAX_KEPT = 64  # pairs of a project and a teacher
OVERLAP_SECONDS = 5.0
"""So far back rows are read again: transactions end in another order than they began. The count finds the rest."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One task's label as the teacher gave it: `key` is its text's content key, `shares` label -> probability; `alone`:
    without having seen any of the annotators' answers."""

    key: bytes
    shares: Mapping[str, float]
    alone: bool = True


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ReplyTable:
    """The m labels that one teacher has given in a project, in the order of its answers.

    keys    m content keys of the texts; `alone` (m,) bool as in `Reply`
    groups  those that were given for the same labels: these, the rows (k,) of the replies, ascending, and their
            probabilities (k, c)
    """

    keys: Sequence[bytes] = ()
    alone: Mask = field(default_factory=lambda: np.empty(0, np.bool_))
    groups: Mapping[tuple[str, ...], tuple[Ints, Floats]] = field(default_factory=dict)

    def shares(self, labels: Sequence[str]) -> tuple[Ints, Floats]:
        """The rows (k,), ascending, of the replies that knew all of these c labels, and the probabilities (k, c)."""
        rows: list[Ints] = [np.empty(0, np.int64)]
        shares: list[Floats] = [np.empty((0, len(labels)), np.float32)]
        for known, (mine, probabilities) in self.groups.items():
            if set(labels) <= set(known):
                rows.append(mine)
                shares.append(probabilities[:, [known.index(label) for label in labels]])
        found = np.concatenate(rows)
        order = np.argsort(found)
        return found[order], np.concatenate(shares)[order]

    def keys_for(self, labels: Collection[str]) -> set[bytes]:
        """The content keys of the texts whose label was given for exactly these labels."""
        return {
            self.keys[row]
            for known, (rows, _) in self.groups.items()
            if set(known) == set(labels)
            for row in rows.tolist()
        }

    def extended(self, replies: Sequence[Reply]) -> ReplyTable:
        """With more replies, which came later."""
        new: dict[tuple[str, ...], tuple[list[int], list[list[float]]]] = {}
        for row, reply in enumerate(replies, start=len(self.keys)):
            rows, shares = new.setdefault(tuple(reply.shares), ([], []))
            rows.append(row)
            shares.append(list(reply.shares.values()))
        groups = dict(self.groups)
        for labels, (numbers, probabilities) in new.items():
            before = groups.get(labels, (np.empty(0, np.int64), np.empty((0, len(labels)), np.float32)))
            groups[labels] = (
                np.concatenate([before[0], np.array(numbers, np.int64)]),
                np.concatenate([before[1], np.array(probabilities, np.float32).reshape(-1, len(labels))]),
            )
        alone = np.concatenate([self.alone, np.array([reply.alone for reply in replies], np.bool_)])
        return ReplyTable([*self.keys, *(reply.key for reply in replies)], alone, groups)


@dataclass
class _Kept:
    ids: set[str] = field(default_factory=set)
    until: float = 0.0  # the latest answer that was read
    replies: ReplyTable = field(default_factory=ReplyTable)


class Replies:
    """Reads the labels of `question`, and remembers them. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()

    def of(self, project: int, teacher: str) -> ReplyTable:
        """All labels of a teacher. What another process answered or removed is seen as well."""
        with self._lock:
            kept = self._kept.pop((project, teacher), _Kept())
            if self._read(project, teacher, kept) != len(kept.ids):  # some were removed, or came in another order
                kept = _Kept()
                self._read(project, teacher, kept)
            self._kept[project, teacher] = kept
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
            return kept.replies

    def _read(self, project: int, teacher: str, kept: _Kept) -> int:
        """Adds what is new; returns how many labels there are."""
        mine = given(project, teacher)
        count = sa.select(sa.func.count()).where(mine)
        query = (
            sa.select(table.c.id, table.c.answered_at, table.c.key, table.c.shares, table.c.alone)
            .where(mine, table.c.answered_at >= kept.until - OVERLAP_SECONDS)
            .order_by(table.c.answered_at, table.c.id)
        )
        with self._database.read() as connection:
            n = int(connection.execute(count).scalar_one())
            rows: list[Any] = [row for row in connection.execute(query) if row.id not in kept.ids]
        if rows:
            kept.ids.update(row.id for row in rows)
            kept.until = max(kept.until, rows[-1].answered_at)
            usable = [row for row in rows if row.key is not None and row.shares is not None]
            kept.replies = kept.replies.extended([Reply(row.key, row.shares, row.alone) for row in usable])
        return n


def given(project: int, teacher: str) -> sa.ColumnElement[bool]:
    """The labels that a teacher has given."""
    return sa.and_(
        table.c.project == project, table.c.teacher == teacher, table.c.purpose == "label", table.c.state == "answered"
    )
