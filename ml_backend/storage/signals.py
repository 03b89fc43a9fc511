"""Signals from any process to the workers that a round was requested, so that they need not poll the database often.

On PostgreSQL, signals use LISTEN and NOTIFY. On SQLite, whose processes run on one machine, each worker has a named
pipe in the data folder. A lost signal only causes a delay, because a worker also polls the database once a second.
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
RECONNECT_SECONDS = 5.0  # pause before a lost connection is opened again

POLLING = "no signals: workers poll the database once a second"

log = structlog.get_logger()


class Listener(Protocol):
    """Receives signals for one worker, in one of its threads."""

    def wait(self, seconds: float) -> None:
        """Returns when a signal has arrived, after `seconds` at the latest."""

    def heard(self) -> bool:
        """Returns whether a signal has arrived since the last call."""

    def close(self) -> None: ...


class Signals(Protocol):
    """Sends signals from any process to all listening workers."""

    @contextmanager
    def announced(self) -> Iterator[sa.Connection]:
        """Opens a transaction, and sends a signal to the workers when it is committed."""

    def listen(self) -> Listener: ...

    def close(self) -> None:
        """Closes all listeners."""


class NamedPipes:
    """Signals over one named pipe for each worker, in a folder that all processes share."""

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
                if error.errno == errno.ENXIO:  # no process reads it: its worker was killed
                    with suppress(OSError):
                        path.unlink()
                continue
            with suppress(OSError):  # the pipe is full: the worker has unread signals
                os.write(pipe, b"1")
            os.close(pipe)

    def listen(self) -> Listener:
        try:
            self._pipes.append(_NamedPipe(self._folder / uuid.uuid4().hex[:12]))
            return self._pipes[-1]
        except OSError as error:
            log.warning(POLLING, folder=str(self._folder), error=error.strerror)
            return PollingListener()

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()


class _NamedPipe:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.mkfifo(path, 0o600)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # also for writing: with no writer, reads return EOF
        self._path = path.rename(path.with_suffix(".pipe"))  # from now on, other processes see it

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
    """Signals over PostgreSQL's LISTEN and NOTIFY. Listening needs the driver psycopg."""

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
            return PollingListener()
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
        self._not_before = self._database.clock.monotonic() + RECONNECT_SECONDS
        try:
            self._connection = self._database.own_connection()
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {CHANNEL}")
        except (StoreError, self._error) as error:
            self._disconnect(error)

    def _disconnect(self, error: Exception) -> None:
        log.warning(POLLING, error=type(error).__name__)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def wait(self, seconds: float) -> None:
        if self._connection is None:
            time.sleep(seconds)
            return
        try:
            select.select([self._connection.fileno()], [], [], seconds)
        except self._error as error:  # PostgreSQL has closed the connection
            self._disconnect(error)

    def heard(self) -> bool:
        if self._connection is None:
            if self._database.clock.monotonic() < self._not_before:
                return False
            self._open()
            return self._connection is not None  # a signal may have been lost meanwhile
        try:
            self._connection.pgconn.consume_input()
            heard = False
            while self._connection.pgconn.notifies() is not None:
                heard = True
            return heard
        except self._error as error:
            self._disconnect(error)
            return False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class PollingListener:
    """Receives no signals, so that its worker polls."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def heard(self) -> bool:
        return False

    def close(self) -> None:
        pass
