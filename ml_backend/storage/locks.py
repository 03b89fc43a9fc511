"""Locks that a process holds while a command runs. They are released when the process ends, even if it is killed."""

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
"""The kind of the lock on a project's rounds of evolution. Each kind of lock has another number."""
RETRY_SECONDS = 0.02


@contextmanager
def locked(database: Database, kind: int, project: int, tries: int = 1) -> Iterator[bool]:
    """Takes the lock of a kind on a project, and releases it at the end of the context. Yields whether it was taken;
    another process may have held it at each of the `tries`, `RETRY_SECONDS` apart.

    PostgreSQL: an advisory lock of a separate connection. SQLite, whose processes run on one machine: a lock on a file
    beside the database.
    """
    if database.file is None:
        with database.connect() as connection:
            key = (kind, project)
            query = sa.select(sa.func.pg_try_advisory_lock(*key))
            is_held = _retry(lambda: bool(connection.execute(query).scalar_one()), tries)
            try:
                yield is_held
            finally:
                if is_held:
                    with suppress(DBAPIError):  # PostgreSQL releases the lock of a lost connection
                        connection.execute(sa.select(sa.func.pg_advisory_unlock(*key)))
        return
    with database.file.with_name(f"{database.file.name}.{kind}-{project}.lock").open("w") as file:
        yield _retry(lambda: _try_file_lock(file), tries)


def _try_file_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _retry(try_lock: Callable[[], bool], tries: int) -> bool:
    for _ in range(tries - 1):
        if try_lock():
            return True
        time.sleep(RETRY_SECONDS)
    return try_lock()
