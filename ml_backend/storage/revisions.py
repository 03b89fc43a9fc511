"""The revision counter of a project, which numbers changes to its annotations and published drafts.

A reader that caches results computed from those rows reads only rows with a newer revision. The counter's row stays
locked until its transaction commits, so that revisions become visible in ascending order: a reader that has seen one
revision has seen all lower ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ml_backend.storage.columns import first_revision
from ml_backend.storage.database import Database
from ml_backend.storage.schema import annotation_revision as table


@dataclass(frozen=True, slots=True)
class Revision:
    """The state of a project's counter.

    number    revision of the newest change
    complete  revision since which no row was removed; a reader whose last revision is older must read all rows
    answers   number of current annotations that are not skips
    skips     number of current annotations that are skips
    """

    number: int = 0
    complete: int = 0
    answers: int = 0
    skips: int = 0


def read(connection: sa.Connection, project: int) -> Revision:
    """Returns the committed counter."""
    return _select(connection, project) or Revision()


def lock(connection: sa.Connection, database: Database, project: int) -> Revision:
    """Locks the counter until the end of this transaction, and returns it. Creates it if the project has none."""
    revision = _select(connection, project, for_update=True)
    while revision is None:
        first = first_revision()
        row = {"project": project, **asdict(Revision(first, complete=first))}
        connection.execute(database.insert_or_ignore(table), [row])
        revision = _select(connection, project, for_update=True)
    return revision


def save(connection: sa.Connection, project: int, revision: Revision) -> None:
    """Stores the counter, which this transaction has locked."""
    connection.execute(sa.update(table).where(table.c.project == project).values(asdict(revision)))


def _select(connection: sa.Connection, project: int, *, for_update: bool = False) -> Revision | None:
    query = sa.select(*[table.c[name] for name in Revision.__dataclass_fields__]).where(table.c.project == project)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    return Revision(*row) if row else None
