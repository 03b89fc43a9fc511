"""Locks that are held for as long as a command runs, and are gone with its process however that ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ml_backend.storage.database import Database

EVOLUTION = 72_110_418
"""The kind of the lock on a project's rounds of evolution; any number that is no other lock's."""
RETRY_SECONDS = 0.02


@contextmanager
def locked(database: Database, kind: int, project: int, tries: int = 1) -> Iterator[bool]:
    """Whether this process has the lock of a kind on a project; False if another one holds it, however often it is
    tried, every `RETRY_SECONDS`.

    PostgreSQL: an advisory lock of a connection of its own; SQLite, which has one machine: a lock on a file beside it.
    """
    if database.file is None:
        with database.connect() as connection:
            key = (kind, project)
            ask = sa.select(sa.func.pg_try_advisory_lock(*key))
            free = _tried(lambda: bool(connection.execute(ask).scalar_one()), tries)
            try:
                yield free
            finally:
                if free:
                    with suppress(DBAPIError):  # a connection that was lost has let go of it
                        connection.execute(sa.select(sa.func.pg_advisory_unlock(*key)))
        return
    with database.file.with_name(f"{database.file.name}.{kind}-{project}.lock").open("w") as file:
        yield _tried(lambda: _lock(file), tries)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tried(lock: Callable[[], bool], tries: int) -> bool:
    for _ in range(tries - 1):
        if lock():
            return True
        time.sleep(RETRY_SECONDS)
    return lock()
