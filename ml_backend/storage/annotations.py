"""Annotations. Events that arrive twice, late or out of order lead to the same rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from typing import Any

import sqlalchemy as sa

from ml_backend.core.types import Annotation, Label
from ml_backend.storage import revisions
from ml_backend.storage.columns import label_value
from ml_backend.storage.database import Database, chunks
from ml_backend.storage.revisions import Revision
from ml_backend.storage.schema import annotation as table

ROWS_PER_TRANSACTION = 500
_COLUMNS = [table.c[field.name] for field in fields(Annotation)]


class Annotations:
    """The table `annotation`. A deleted annotation stays as a tombstone, because Label Studio never uses an id twice.

    Each changed row gets the next revision of its project, in the order in which changes are committed. A *current*
    annotation is one that is not deleted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, project: int, annotations: Iterable[Annotation]) -> int:
        """Adds or updates annotations. Ignores a state that is older than the stored one, and deleted annotations.

        Returns the number of changed rows. `updated_at` is compared as ISO text, which Label Studio writes in UTC.
        """
        n_changed = 0
        for chunk in chunks(annotations, ROWS_PER_TRANSACTION):
            with self._database.begin() as connection:
                revision = revisions.lock(connection, self._database, project)
                stored, deleted = _stored(connection, project, [annotation.id for annotation in chunk])
                latest = dict(stored)
                for annotation in chunk:
                    before = latest.get(annotation.id)
                    is_late = before is not None and before.updated_at > annotation.updated_at
                    if annotation.id not in deleted and not is_late:
                        latest[annotation.id] = annotation
                changed = [new for annotation_id, new in latest.items() if new != stored.get(annotation_id)]
                if changed:
                    replaced = [stored[annotation.id] for annotation in changed if annotation.id in stored]
                    revision = _next_revision(revision, changed, replaced)
                    rows = [_row(project, annotation, revision.number) for annotation in changed]
                    connection.execute(self._database.upsert(table), rows)
                    revisions.save(connection, project, revision)
                n_changed += len(changed)
        return n_changed

    def unchanged_since(self, project: int, revision: int, tasks: Iterable[int] | None = None) -> set[int]:
        """Returns the ids of the current annotations that have not changed after a revision.

        tasks  only annotations of these tasks; None: of all tasks
        """
        current = sa.and_(table.c.project == project, ~table.c.deleted, table.c.revision <= revision)
        parts = (
            [sa.true()] if tasks is None else [table.c.task.in_(chunk) for chunk in chunks(tasks, ROWS_PER_TRANSACTION)]
        )
        return self._select_ids(current, parts)

    def deleted_at(self, project: int, revision: int, ids: Iterable[int]) -> set[int]:
        """Returns those of the ids whose annotations were deleted at this revision or before."""
        deleted = sa.and_(table.c.project == project, table.c.deleted, table.c.revision <= revision)
        return self._select_ids(deleted, [table.c.id.in_(chunk) for chunk in chunks(ids, ROWS_PER_TRANSACTION)])

    def _select_ids(self, condition: sa.ColumnElement[bool], parts: Iterable[sa.ColumnElement[bool]]) -> set[int]:
        with self._database.read() as connection:
            queries = (sa.select(table.c.id).where(condition, part) for part in parts)
            return {annotation_id for query in queries for annotation_id in connection.execute(query).scalars()}

    def revive(self, project: int, ids: Collection[int]) -> None:
        """Removes the tombstones of annotations that Label Studio still has; the next `put` adds the annotations."""
        for chunk in chunks(ids, ROWS_PER_TRANSACTION):
            tombstones = sa.delete(table).where(table.c.project == project, table.c.deleted, table.c.id.in_(chunk))
            with self._database.begin() as connection:
                revision = revisions.lock(connection, self._database, project)
                if connection.execute(tombstones).rowcount:
                    number = revision.number + 1
                    revisions.save(connection, project, replace(revision, number=number, complete=number))

    def delete(self, project: int, ids: Iterable[int]) -> int:
        """Marks annotations as deleted. An id that is not in the table gets a tombstone, too: its creation may arrive
        later. Returns the number of annotations that were current until now."""
        n_deleted = 0
        for chunk in chunks(set(ids), ROWS_PER_TRANSACTION):
            with self._database.begin() as connection:
                revision = revisions.lock(connection, self._database, project)
                stored, deleted = _stored(connection, project, chunk)
                unknown = [  # tombstones, whose task is not known
                    Annotation(number, 0, None, cancelled=True) for number in chunk if number not in {*stored, *deleted}
                ]
                if stored or unknown:
                    revision = _next_revision(revision, [], stored.values())
                    revisions.save(connection, project, revision)
                if stored:
                    mark = sa.update(table).where(table.c.project == project, table.c.id.in_(list(stored)))
                    connection.execute(mark.values(deleted=True, revision=revision.number))
                if unknown:
                    rows = [_row(project, annotation, revision.number, deleted=True) for annotation in unknown]
                    connection.execute(self._database.insert_or_ignore(table), rows)
                n_deleted += len(stored)
        return n_deleted

    def of(self, project: int) -> list[Annotation]:
        """Returns all current annotations of a project, skips included, oldest first."""
        query = sa.select(*_COLUMNS).where(table.c.project == project, ~table.c.deleted).order_by(table.c.id)
        with self._database.read() as connection:
            return [_annotation(row) for row in connection.execute(query)]

    def of_tasks(self, project: int, tasks: Iterable[int]) -> list[Annotation]:
        """Returns the current annotations of these tasks, skips included, oldest first."""
        return self._current_with(project, table.c.task, tasks)

    def with_ids(self, project: int, ids: Iterable[int]) -> list[Annotation]:
        """Returns the current annotations with these ids, oldest first."""
        return self._current_with(project, table.c.id, ids)

    def revision(self, project: int) -> Revision:
        """Returns the newest revision. A read after this call sees all changes up to this revision."""
        with self._database.read() as connection:
            return revisions.read(connection, project)

    def changed_since(self, project: int, revision: int) -> set[int]:
        """Returns the ids of the tasks whose annotations have changed after a revision."""
        query = sa.select(table.c.task).where(table.c.project == project, table.c.revision > revision).distinct()
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def count(self, project: int) -> tuple[int, int]:
        """Returns the numbers of current annotations with an answer and of skips, as Label Studio counts them."""
        revision = self.revision(project)
        return revision.answers, revision.skips

    def _current_with(self, project: int, column: sa.Column[int], values: Iterable[int]) -> list[Annotation]:
        """Returns the current annotations with one of these values in a column, by id. The query neither sorts nor
        tests `deleted`: SQLite would choose another index for that, and read the whole project."""
        annotations: list[Annotation] = []
        for chunk in chunks(values, ROWS_PER_TRANSACTION):
            query = sa.select(*_COLUMNS, table.c.deleted).where(table.c.project == project, column.in_(chunk))
            with self._database.read() as connection:
                annotations += [_annotation(row[:-1]) for row in connection.execute(query) if not row.deleted]
        return sorted(annotations, key=lambda annotation: annotation.id)


def _stored(connection: sa.Connection, project: int, ids: Iterable[int]) -> tuple[dict[int, Annotation], set[int]]:
    """Returns the current annotations with these ids, by id, and the ids of those that are deleted."""
    query = sa.select(*_COLUMNS, table.c.deleted).where(table.c.project == project, table.c.id.in_(list(ids)))
    rows = connection.execute(query).all()
    return {row.id: _annotation(row[:-1]) for row in rows if not row.deleted}, {row.id for row in rows if row.deleted}


def _annotation(row: Iterable[Any]) -> Annotation:
    number, task, annotator, stored_labels, *rest = row
    labels = {
        control: Label(label_value(stored["value"]), stored.get("unread", ""))
        for control, stored in stored_labels.items()
    }
    return Annotation(number, task, annotator, labels, *rest)


def _row(project: int, annotation: Annotation, revision: int, *, deleted: bool = False) -> dict[str, object]:
    values = {field.name: getattr(annotation, field.name) for field in fields(annotation)}
    values["labels"] = {
        control: {"value": label.value, **({"unread": label.unread} if label.unread else {})}
        for control, label in annotation.labels.items()
    }
    return {**values, "project": project, "deleted": deleted, "revision": revision}


def _next_revision(revision: Revision, added: Iterable[Annotation], removed: Iterable[Annotation]) -> Revision:
    """Returns the counter after a change. A changed annotation is in `removed` as it was, and in `added` as it is."""
    number, complete = revision.number + 1, revision.complete
    counts = [revision.answers, revision.skips]
    tasks: dict[int, int] = {}
    for sign, changed in ((-1, removed), (1, added)):
        for annotation in changed:
            counts[annotation.cancelled] += sign
            if tasks.setdefault(annotation.id, annotation.task) != annotation.task:
                complete = number  # no row of its former task shows that it has moved
    return Revision(number, complete, *counts)
