"""Locks that are held for as long as a command runs, and are gone with its process however that ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ml_backend.store.database import Database


@contextmanager
def locked(database: Database, kind: int, project: int) -> Iterator[bool]:
    """Whether this process has the lock of a kind on a project; False if another one holds it.

    PostgreSQL: an advisory lock of a connection of its own; SQLite, which has one machine: a lock on a file beside it.
    """
    if database.file is None:
        with database.connect() as connection:
            key = (kind, project)
            free = bool(connection.execute(sa.select(sa.func.pg_try_advisory_lock(*key))).scalar_one())
            try:
                yield free
            finally:
                if free:
                    with suppress(DBAPIError):  # a connection that was lost has let go of it
                        connection.execute(sa.select(sa.func.pg_advisory_unlock(*key)))
        return
    with database.file.with_name(f"{database.file.name}.{kind}-{project}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
