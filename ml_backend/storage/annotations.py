"""The annotators' answers, safe against events that are doubled, late or out of order."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, fields, replace

import sqlalchemy as sa

from ml_backend.core.types import Annotation
from ml_backend.storage import revisions
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.revisions import Revision
from ml_backend.storage.schema import annotation as table

CHUNK = 500
_COLUMNS = [table.c[field.name] for field in fields(Annotation)]


class Annotations:
    """The table `annotation`. A deletion leaves a tombstone: Label Studio never uses a number twice.

    Each changed row gets the next revision of its project, in the order in which changes are committed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, annotations: Iterable[Annotation]) -> int:
        """Adds or updates annotations; an older state than the stored one, or a deleted one, is ignored.

        Returns how many really changed. `updated_at` is compared as ISO text, which Label Studio writes in UTC.
        """
        written = 0
        for chunk in chunks(annotations, CHUNK):
            with self._database.begin() as connection:
                revision = revisions.lock(connection, self._database, project)
                stored, deleted = _stored(connection, project, [annotation.id for annotation in chunk])
                current = dict(stored)
                for annotation in chunk:
                    before = current.get(annotation.id)
                    is_late = before is not None and before.updated_at > annotation.updated_at
                    if annotation.id not in deleted and not is_late:
                        current[annotation.id] = annotation
                changed = [annotation for number, annotation in current.items() if annotation != stored.get(number)]
                if changed:
                    replaced = [stored[annotation.id] for annotation in changed if annotation.id in stored]
                    revision = _next(revision, changed, replaced)
                    rows = [_row(project, annotation, revision.number) for annotation in changed]
                    connection.execute(self._database.upsert(table), rows)
                    revisions.save(connection, project, revision)
                written += len(changed)
        return written

    def standing_at(self, project: int, revision: int, tasks: Iterable[int] | None = None) -> set[int]:
        """The numbers of the standing annotations that have not changed after a revision; of some tasks, or of all."""
        standing = sa.and_(table.c.project == project, ~table.c.deleted, table.c.revision <= revision)
        parts = [sa.true()] if tasks is None else [table.c.task.in_(chunk) for chunk in chunks(tasks, CHUNK)]
        return self._numbers(standing, parts)

    def deleted_at(self, project: int, revision: int, ids: Iterable[int]) -> set[int]:
        """Those of some annotations that were deleted up to a revision."""
        deleted = sa.and_(table.c.project == project, table.c.deleted, table.c.revision <= revision)
        return self._numbers(deleted, [table.c.id.in_(chunk) for chunk in chunks(ids, CHUNK)])

    def _numbers(self, condition: sa.ColumnElement[bool], parts: Iterable[sa.ColumnElement[bool]]) -> set[int]:
        with self._database.read() as connection:
            queries = (sa.select(table.c.id).where(condition, part) for part in parts)
            return {number for query in queries for number in connection.execute(query).scalars()}

    def revive(self, project: int, ids: Collection[int]) -> None:
        """Takes back deletions that Label Studio does not know of; the next `put` fills the annotations in."""
        for chunk in chunks(ids, CHUNK):
            wrong = sa.delete(table).where(table.c.project == project, table.c.deleted, table.c.id.in_(chunk))
            with self._database.begin() as connection:
                revision = revisions.lock(connection, self._database, project)
                if connection.execute(wrong).rowcount:
                    number = revision.number + 1
                    revisions.save(connection, project, replace(revision, number=number, complete=number))

    def delete(self, project: int, ids: Iterable[int]) -> int:
        """Marks annotations as deleted, known or not yet known; returns how many were counted until now."""
        gone = list(set(ids))
        known = 0
        for chunk in chunks(gone, CHUNK):
            with self._database.begin() as connection:
                revision = revisions.lock(connection, self._database, project)
                stored, deleted = _stored(connection, project, chunk)
                unknown = [
                    Annotation(number, 0, None, (), True) for number in chunk if number not in {*stored, *deleted}
                ]
                if stored or unknown:
                    revision = _next(revision, [], stored.values())
                    revisions.save(connection, project, revision)
                if stored:
                    mark = sa.update(table).where(table.c.project == project, table.c.id.in_(list(stored)))
                    connection.execute(mark.values(deleted=True, revision=revision.number))
                if unknown:
                    rows = [_row(project, annotation, revision.number, deleted=True) for annotation in unknown]
                    connection.execute(self._database.insert_or_ignore(table), rows)
                known += len(stored)
        return known

    def of(self, project: int) -> list[Annotation]:
        """All standing annotations of a project, skips included, oldest first."""
        query = sa.select(*_COLUMNS).where(table.c.project == project, ~table.c.deleted).order_by(table.c.id)
        with self._database.read() as connection:
            return [_annotation(row) for row in connection.execute(query)]

    def of_tasks(self, project: int, tasks: Iterable[int]) -> list[Annotation]:
        """The standing annotations of some tasks, skips included, oldest first."""
        return self._among(project, table.c.task, tasks)

    def those(self, project: int, ids: Iterable[int]) -> list[Annotation]:
        """The standing ones of some annotations."""
        return self._among(project, table.c.id, ids)

    def revision(self, project: int) -> Revision:
        """The newest revision. Whatever is read after this call holds all changes up to it."""
        with self._database.read() as connection:
            return revisions.read(connection, project)

    def changed_since(self, project: int, revision: int) -> set[int]:
        """The tasks whose annotations have changed after a revision."""
        query = sa.select(table.c.task).where(table.c.project == project, table.c.revision > revision).distinct()
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def unread(self, project: int) -> list[tuple[str, int, Annotation]]:
        """The standing answers that cannot be learnt from: each reason with its code, how many there are, and the first
        of them; the most frequent reason first."""
        unread = sa.and_(table.c.project == project, table.c.unread > "", ~table.c.deleted)
        counted = sa.select(table.c.unread, sa.func.count(), sa.func.min(table.c.id)).where(unread)
        with self._database.read() as connection:
            rows = connection.execute(counted.group_by(table.c.unread)).all()
            firsts = sa.select(*_COLUMNS).where(table.c.project == project, table.c.id.in_([row[2] for row in rows]))
            first = {row.unread: row for row in connection.execute(firsts)} if rows else {}
        found = [(row[0], int(row[1]), _annotation(first[row[0]])) for row in rows]
        return sorted(found, key=lambda reason: (-reason[1], reason[0]))

    def count(self, project: int) -> tuple[int, int]:
        """How many standing annotations are answers, and how many are skips: what Label Studio counts, too."""
        revision = self.revision(project)
        return revision.answers, revision.skips

    def _among(self, project: int, column: sa.Column[int], values: Iterable[int]) -> list[Annotation]:
        """The standing annotations with one of some values in a column, by its index and no other: sorting, or passing
        over the deleted ones, would have SQLite read all of the project by another one."""
        found: list[Annotation] = []
        for chunk in chunks(values, CHUNK):
            query = sa.select(*_COLUMNS, table.c.deleted).where(table.c.project == project, column.in_(chunk))
            with self._database.read() as connection:
                found += [_annotation(row[:-1]) for row in connection.execute(query) if not row.deleted]
        return sorted(found, key=lambda annotation: annotation.id)


def _stored(connection: sa.Connection, project: int, ids: Iterable[int]) -> tuple[dict[int, Annotation], set[int]]:
    """Those of some annotations that stand, by number, and the numbers of those that are deleted."""
    query = sa.select(*_COLUMNS, table.c.deleted).where(table.c.project == project, table.c.id.in_(list(ids)))
    rows = connection.execute(query).all()
    return {row.id: _annotation(row[:-1]) for row in rows if not row.deleted}, {row.id for row in rows if row.deleted}


def _annotation(row: Iterable[object]) -> Annotation:
    number, task, annotator, choices, *rest = row
    return Annotation(number, task, annotator, tuple(choices), *rest)  # type: ignore[arg-type]


def _row(project: int, annotation: Annotation, revision: int, *, deleted: bool = False) -> dict[str, object]:
    values = {**asdict(annotation), "choices": list(annotation.choices)}
    return {**values, "project": project, "deleted": deleted, "revision": revision}


def _next(revision: Revision, added: Iterable[Annotation], gone: Iterable[Annotation]) -> Revision:
    """The counter after annotations have come, or changed from what is `gone` to what is `added`."""
    number, complete = revision.number + 1, revision.complete
    counts = [revision.answers, revision.skips]
    tasks: dict[int, int] = {}
    for sign, states in ((-1, gone), (1, added)):
        for annotation in states:
            counts[annotation.cancelled] += sign
            if tasks.setdefault(annotation.id, annotation.task) != annotation.task:
                complete = number  # nothing is left at the task that it was about
    return Revision(number, complete, *counts)
