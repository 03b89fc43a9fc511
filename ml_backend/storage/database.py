"""Opens the database: SQLite in WAL mode by default, PostgreSQL by URL; brings its tables up to date with alembic."""

from __future__ import annotations

import importlib
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError, OperationalError

from ml_backend.core.clock import SYSTEM_CLOCK, Clock
from ml_backend.core.exceptions import StoreError
from ml_backend.core.types import storable_text

DATABASES = {"sqlite", "postgresql"}
MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 10  # longest wait for the writer of another process on SQLite
WRITER_RETRY_SECONDS = 0.001  # between two tries to become SQLite's writer
CHECKPOINT_PAGES = 20_000  # length of the write-ahead log at which a process runs a checkpoint in any case
WIPE_BUSY_MILLISECONDS = 100
T = TypeVar("T")
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # NUL as JSON escapes it; after an escaped backslash, "u0000" is text
MIGRATIONS_LOCK = 72_110_417  # number of the advisory lock; differs from that of every other lock


class Database:
    """One SQLAlchemy engine, with transactions and the statements that SQLite and PostgreSQL write differently."""

    def __init__(self, url: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self._engine = _make_engine(url)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        # writing threads of one process wait here for each other, and in `_begin_immediate` for other processes
        self._writer_lock: AbstractContextManager[object] = threading.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            path = self._engine.url.database
            if path and path != ":memory:":
                try:
                    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    Path(path).touch(mode=0o600)
                except OSError as error:
                    raise StoreError(
                        f"The store cannot be created at {path} ({error.strerror}): make its folder writable"
                    ) from error
            sa.event.listen(self._engine, "connect", _set_pragmas)
            sa.event.listen(self._engine, "begin", _begin_immediate)

    def upgrade(self) -> None:
        """Applies the missing migrations, if there are any. Several processes may call it at once."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.begin() as connection:
            if self._engine.dialect.name == "postgresql":  # SQLite's transactions exclude each other by themselves
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATIONS_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def leave_checkpoints(self) -> None:
        """On SQLite: leaves checkpoints, which take tens of milliseconds, to other processes. This process runs one
        only if the write-ahead log has `CHECKPOINT_PAGES`."""
        if self.is_sqlite:
            self._engine.dispose()
            sa.event.listen(self._engine, "connect", _set_rare_checkpoints)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Opens one transaction. Raises StoreError if the database cannot be used (full disk, lock, no connection)."""
        try:
            with self._writer_lock, self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise StoreError(_error_message(error, "used")) from None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Opens a transaction that only reads; on SQLite it never waits for a writer. Raises StoreError."""
        try:
            with self._engine.connect().execution_options(read_only=True) as connection:
                yield connection
        except DBAPIError as error:
            raise StoreError(_error_message(error, "read")) from None

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database; None for PostgreSQL."""
        return Path(self._engine.url.database or "") if self.is_sqlite else None

    def connect(self) -> sa.Connection:
        """Opens a connection without a transaction, for a lock that is held longer than a transaction. Raises
        StoreError."""
        try:
            return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError as error:
            raise StoreError(_error_message(error, "used")) from None

    def upsert(self, table: sa.Table, where: Callable[[Any], sa.ColumnElement[bool]] | None = None) -> sa.Insert:
        """Returns an INSERT that updates all columns of a row with the same primary key, if there is one.

        where  maps the new row to the condition under which the row is updated; None: always
        """
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key]
        new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
        return statement.on_conflict_do_update(  # type: ignore[no-any-return]
            index_elements=keys, set_=new, where=where(statement.excluded) if where else None
        )

    def put(self, table: sa.Table, row: Mapping[str, Any]) -> sa.Insert:
        """Returns an INSERT of a row. If a row with the same primary key exists, only the columns in `row` are set."""
        keys = [column.name for column in table.primary_key]
        values = {name: value for name, value in row.items() if name not in keys}
        statement = self._insert(table).values(row)
        if not values:
            return statement.on_conflict_do_nothing()  # type: ignore[no-any-return]
        return statement.on_conflict_do_update(index_elements=keys, set_=values)  # type: ignore[no-any-return]

    def write(self, statement: sa.Executable) -> int:
        """Executes one statement in its own transaction, and returns the number of changed rows."""
        with self.begin() as connection:
            return int(connection.execute(statement).rowcount)

    def add(self, table: sa.Table, names: Sequence[str]) -> sa.Insert:
        """Returns an INSERT that adds the values of the columns `names` to those of a row with the same primary key, if
        there is one."""
        statement = self._insert(table)
        sums = {name: table.c[name] + statement.excluded[name] for name in names}
        keys = [column.name for column in table.primary_key]
        return statement.on_conflict_do_update(index_elements=keys, set_=sums)  # type: ignore[no-any-return]

    def insert_or_ignore(self, table: sa.Table) -> sa.Insert:
        """Returns an INSERT that does nothing if a row with the same primary key exists."""
        return self._insert(table).on_conflict_do_nothing()  # type: ignore[no-any-return]

    def _insert(self, table: sa.Table) -> Any:
        dialect = importlib.import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        return dialect.insert(table)

    @property
    def driver(self) -> str:
        """The name of the driver, such as `psycopg`."""
        return self._engine.driver

    def own_connection(self) -> Any:
        """Opens a connection of the driver, which the caller closes. Raises StoreError."""
        try:
            pooled = self._engine.raw_connection()
        except DBAPIError as error:
            raise StoreError(_error_message(error, "reached")) from None
        connection = pooled.driver_connection
        pooled.detach()
        return connection

    def now(self) -> Any:
        """Returns the seconds since the epoch by the clock that all processes share: on PostgreSQL an SQL expression,
        on SQLite, whose processes run on one machine, a number."""
        if self.is_sqlite:
            return self.clock.now()
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)

    def wipe(self) -> bool:
        """On SQLite: empties the write-ahead log, which still holds deleted rows. Returns False if another process that
        reads or writes prevents it. On PostgreSQL: does nothing."""
        if not self.is_sqlite:
            return True
        with self._writer_lock, closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={WIPE_BUSY_MILLISECONDS}")  # all writers wait meanwhile
                return not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError:
                return False
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")

    def close(self) -> None:
        self._engine.dispose()


def _as_json(value: Any) -> str:
    """Serializes a value as JSON, with a space for each NUL, and with lone surrogates replaced: PostgreSQL refuses
    both."""
    return _NUL.sub(r"\1 ", storable_text(json.dumps(value, ensure_ascii=False)))


def check_url(url: str) -> None:
    """Raises StoreError if the URL is not valid, without opening a connection."""
    _make_engine(url).dispose()


def _make_engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() not in DATABASES:
            raise StoreError(
                f"APPRENTICE_STORE_URL names a {parsed.get_backend_name()} database: only PostgreSQL "
                "(postgresql+psycopg://user@host/name) and SQLite are supported"
            )
        if url.startswith("sqlite:///") and not parsed.query:
            parsed = parsed.set(database=url.removeprefix("sqlite:///"))  # a path: %20 in it is not a space
        return sa.create_engine(parsed, pool_pre_ping=not url.startswith("sqlite"), json_serializer=_as_json)
    except sa.exc.ArgumentError as error:
        raise StoreError(
            "APPRENTICE_STORE_URL is not a database URL such as postgresql+psycopg://user@host/name"
        ) from error
    except ImportError as error:
        raise StoreError(f"APPRENTICE_STORE_URL needs a driver that is not installed ({error})") from error


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's recipe for SQLite: `_begin_immediate` sends BEGIN
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "foreign_keys=ON",
        "secure_delete=ON",  # deleted data is overwritten
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _set_rare_checkpoints(connection: Any, _record: Any) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")


def _begin_immediate(connection: sa.Connection) -> None:
    # A deferred transaction that begins to write fails at once with "database is locked"; an immediate one waits.
    if connection.get_execution_options().get("read_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite's own busy handler sleeps up to 0.1 s between two tries, which would delay a webhook
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + BUSY_SECONDS
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > deadline:
                    raise
            time.sleep(WRITER_RETRY_SECONDS)
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")


def _error_message(error: DBAPIError, participle: str) -> str:
    """Returns the message of a StoreError. participle: what was tried, for example "read"."""
    # only the first line: PostgreSQL writes the failing row, which may hold the text of a task, into the next lines
    reason = str(error.orig).partition("\n")[0]
    return f"The store cannot be {participle} ({reason}): check its disk and APPRENTICE_STORE_URL"


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields the items in lists of at most `size`. A short transaction for each list keeps the webhook from waiting."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def process_name() -> str:
    """Returns a name for this process as the owner of leases: host name and process id."""
    return f"{os.uname().nodename}-{os.getpid()}"
