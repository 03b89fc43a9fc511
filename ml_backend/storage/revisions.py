"""The counter of a project that numbers changes to what annotators answered and to the drafts that they were shown.

A reader that keeps something made of those rows asks for the rows with a newer revision, and for nothing else. The
counter's row stays locked until its transaction commits, so that revisions become visible in their order: whoever has
seen one has seen all lower ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import annotation_revision as table
from ml_backend.storage.schema import beginning


@dataclass(frozen=True, slots=True)
class Revision:
    """The state of a project's counter.

    number    revision of the newest change
    complete  revision from which on no row has vanished: a reader that knows only an older one reads everything again
    answers, skips  standing annotations of each kind
    """

    number: int = 0
    complete: int = 0
    answers: int = 0
    skips: int = 0


def read(connection: sa.Connection, project: int) -> Revision:
    """The counter as it is committed."""
    return _select(connection, project) or Revision()


def lock(connection: sa.Connection, database: Database, project: int) -> Revision:
    """The counter, which nobody else changes before the end of this transaction; made if the project has none."""
    revision = _select(connection, project, for_update=True)
    while revision is None:
        first = beginning()
        row = {"project": project, **asdict(Revision(first, complete=first))}
        connection.execute(database.insert_or_ignore(table), [row])
        revision = _select(connection, project, for_update=True)
    return revision


def save(connection: sa.Connection, project: int, revision: Revision) -> None:
    """Writes the counter that this transaction has locked."""
    connection.execute(sa.update(table).where(table.c.project == project).values(asdict(revision)))


def _select(connection: sa.Connection, project: int, *, for_update: bool = False) -> Revision | None:
    query = sa.select(*[table.c[name] for name in Revision.__dataclass_fields__]).where(table.c.project == project)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    return Revision(*row) if row else None
