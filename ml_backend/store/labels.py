"""The annotators' answers, safe against events that are doubled, late or out of order."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, fields

import sqlalchemy as sa

from ml_backend.domain import Annotation
from ml_backend.store.database import Database, chunks
from ml_backend.store.schema import annotation as table

CHUNK = 500
_COLUMNS = [table.c[field.name] for field in fields(Annotation)]


class Labels:
    """The table `annotation`. A deletion leaves a tombstone: Label Studio never uses a number twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, annotations: Iterable[Annotation]) -> int:
        """Adds or updates annotations; an older state than the stored one, or a deleted one, is ignored.

        Returns how many were written. `updated_at` is compared as ISO text, which Label Studio writes in UTC.
        """
        rows = [
            {**asdict(annotation), "choices": list(annotation.choices), "project": project, "deleted": False}
            for annotation in annotations
        ]
        statement = self._database.upsert(
            table, where=lambda new: sa.and_(~table.c.deleted, table.c.updated_at <= new.updated_at)
        ).execution_options(preserve_rowcount=True)
        written = 0
        for chunk in chunks(rows, CHUNK):
            with self._database.begin() as connection:
                written += sum(connection.execute(statement, row).rowcount for row in chunk)
        return written

    def tombstones(self, project: int) -> set[int]:
        """The numbers of the deleted annotations."""
        query = sa.select(table.c.id).where(table.c.project == project).where(table.c.deleted)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def revive(self, project: int, ids: Collection[int]) -> None:
        """Takes back deletions that Label Studio does not know of; the next `put` fills the annotations in."""
        for chunk in chunks(ids, CHUNK):
            wrong = sa.delete(table).where(table.c.project == project, table.c.deleted, table.c.id.in_(chunk))
            with self._database.begin() as connection:
                connection.execute(wrong)

    def forget(self, project: int) -> None:
        """Drops all of a project's annotations, tombstones included."""
        with self._database.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.project == project))

    def delete(self, project: int, ids: Iterable[int]) -> int:
        """Marks annotations as deleted, known or not yet known; returns how many were counted until now."""
        gone = list(set(ids))
        if not gone:
            return 0
        tombstone: dict[str, object] = {
            "project": project, "task": 0, "annotator": None, "choices": [], "cancelled": True, "ground_truth": False,
            "updated_at": "", "lead_time": None, "deleted": True, "unread": "",
        }  # fmt: skip
        mark = sa.update(table).where(table.c.project == project).where(~table.c.deleted).values(deleted=True)
        known = 0
        for chunk in chunks(gone, CHUNK):
            with self._database.begin() as connection:
                known += connection.execute(mark.where(table.c.id.in_(chunk))).rowcount
                rows = [{**tombstone, "id": each} for each in chunk]
                connection.execute(self._database.insert_or_ignore(table), rows)
        return known

    def of(self, project: int) -> list[Annotation]:
        """All standing annotations of a project, skips included, oldest first."""
        query = sa.select(*_COLUMNS).where(table.c.project == project).where(~table.c.deleted).order_by(table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [_annotation(row) for row in rows]

    def unread(self, project: int) -> list[tuple[str, int, Annotation]]:
        """The standing answers that cannot be learnt from: each reason with its code, how many there are, and the first
        of them; the most frequent reason first."""
        unread = sa.and_(table.c.project == project, table.c.unread != "", ~table.c.deleted)
        counted = sa.select(table.c.unread, sa.func.count(), sa.func.min(table.c.id)).where(unread)
        with self._database.read() as connection:
            rows = connection.execute(counted.group_by(table.c.unread)).all()
            firsts = sa.select(*_COLUMNS).where(table.c.project == project, table.c.id.in_([row[2] for row in rows]))
            first = {row["unread"]: row for row in connection.execute(firsts).mappings()} if rows else {}
        found = [(row[0], int(row[1]), _annotation(first[row[0]])) for row in rows]
        return sorted(found, key=lambda reason: (-reason[1], reason[0]))

    def count(self, project: int) -> tuple[int, int]:
        """How many standing annotations are answers, and how many are skips: what Label Studio counts, too."""
        query = (
            sa.select(table.c.cancelled, sa.func.count())
            .where(table.c.project == project)
            .where(~table.c.deleted)
            .group_by(table.c.cancelled)
        )
        with self._database.read() as connection:
            counts: dict[bool, int] = {row[0]: row[1] for row in connection.execute(query)}
        return counts.get(False, 0), counts.get(True, 0)


def _annotation(row: sa.RowMapping) -> Annotation:
    return Annotation(**{**row, "choices": tuple(row["choices"])})
