"""How a process tells the workers at once that there is work, so that they need not ask the database all the time.

On PostgreSQL by LISTEN and NOTIFY. On SQLite, whose processes are on one machine, by named pipes in the data folder,
one for each worker. Nothing depends on it but the delay: a worker that hears nothing asks the database once a second.
"""

from __future__ import annotations

import errno
import os
import select
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
import structlog

from ml_backend.core.exceptions import StoreError
from ml_backend.storage.database import Database

CHANNEL = "apprentice"
RETRY_SECONDS = 5.0  # before a connection that broke is opened again

log = structlog.get_logger()


class Listener(Protocol):
    """Belongs to one worker, and to one of its threads."""

    def wait(self, seconds: float) -> None:
        """Returns when there is something to hear, after `seconds` at the latest."""

    def heard(self) -> bool:
        """Whether there has been a signal since the last call."""

    def close(self) -> None: ...


class Signals(Protocol):
    """Every worker that listens hears what any process announces."""

    @contextmanager
    def announced(self) -> Iterator[sa.Connection]:
        """A transaction that the workers are told of once it is committed."""

    def listen(self) -> Listener: ...

    def close(self) -> None:
        """Closes all listeners."""


class NamedPipes:
    """One named pipe for each worker, in a folder that all processes share."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._pipes: list[_NamedPipe] = []

    @contextmanager
    def announced(self) -> Iterator[sa.Connection]:
        with self._database.begin() as connection:
            yield connection
        for path in self._folder.glob("*.pipe"):
            try:
                pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nobody reads it any more: its worker was killed
                    with suppress(OSError):
                        path.unlink()
                continue
            with suppress(OSError):  # full: the worker has enough to hear
                os.write(pipe, b"1")
            os.close(pipe)

    def listen(self) -> Listener:
        try:
            self._pipes.append(_NamedPipe(self._folder / uuid.uuid4().hex[:12]))
            return self._pipes[-1]
        except OSError as error:
            log.warning("workers ask once a second", folder=str(self._folder), error=error.strerror)
            return _Silence()

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()


class _NamedPipe:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.mkfifo(path, 0o600)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # for writing, too: else it would be at its end
        self._path = path.rename(path.with_suffix(".pipe"))  # from now on others see it

    def wait(self, seconds: float) -> None:
        select.select([self._pipe], [], [], seconds)

    def heard(self) -> bool:
        try:
            return bool(os.read(self._pipe, 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1


class Notifications:
    """PostgreSQL's own, over the driver psycopg."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscriptions: list[_Subscription] = []

    @contextmanager
    def announced(self) -> Iterator[sa.Connection]:
        with self._database.begin() as connection:
            yield connection
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    def listen(self) -> Listener:
        if self._database.driver != "psycopg":
            return _Silence()
        self._subscriptions.append(_Subscription(self._database))
        return self._subscriptions[-1]

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()


class _Subscription:
    def __init__(self, database: Database) -> None:
        from psycopg import Error

        self._error = Error
        self._database = database
        self._connection: Any = None
        self._not_before = 0.0
        self._open()

    def _open(self) -> None:
        self._not_before = time.monotonic() + RETRY_SECONDS
        try:
            self._connection = self._database.own_connection()
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {CHANNEL}")
        except (StoreError, self._error) as error:
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        log.warning("workers ask once a second", error=type(error).__name__)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def wait(self, seconds: float) -> None:
        if self._connection is None:
            time.sleep(seconds)
            return
        try:
            select.select([self._connection.fileno()], [], [], seconds)
        except self._error as error:  # it was closed by the other side
            self._broken(error)

    def heard(self) -> bool:
        if self._connection is None:
            if time.monotonic() < self._not_before:
                return False
            self._open()
            return self._connection is not None  # what was announced meanwhile is lost
        try:
            self._connection.pgconn.consume_input()
            heard = False
            while self._connection.pgconn.notifies() is not None:
                heard = True
            return heard
        except self._error as error:
            self._broken(error)
            return False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Silence:
    """Where nothing can be heard."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def heard(self) -> bool:
        return False

    def close(self) -> None:
        pass
