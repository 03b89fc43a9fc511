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

from ml_backend.core.exceptions import StoreError
from ml_backend.core.types import storable

DATABASES = {"sqlite", "postgresql"}
MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 10
TURN_SECONDS = 0.001  # between two tries to become SQLite's writer
CHECKPOINT_PAGES = 20_000  # of the write-ahead log, from which even a process that leaves that to others tidies it up
WIPE_MILLISECONDS = 100
T = TypeVar("T")
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # as JSON writes it, but not a backslash that stands before "u0000"
MIGRATIONS_LOCK = 72_110_417  # any number that nobody else takes an advisory lock on


class Database:
    """One engine; `begin` is the only way to it."""

    def __init__(self, url: str) -> None:
        self._engine = _make_engine(url)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        # threads of one process wait for each other here, and for other processes in `_begin_immediate`
        self._turn: AbstractContextManager[object] = threading.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            path = self._engine.url.database
            if path and path != ":memory:":
                try:
                    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    Path(path).touch(mode=0o600)
                except OSError as error:
                    raise StoreError(f"The store cannot be made at {path} ({error.strerror})") from error
            sa.event.listen(self._engine, "connect", _pragmas)
            sa.event.listen(self._engine, "begin", _begin_immediate)

    def upgrade(self) -> None:
        """Applies the missing migrations; harmless when there are none. Safe to call from several processes."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.begin() as connection:
            if self._engine.dialect.name == "postgresql":  # SQLite's transactions exclude each other by themselves
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATIONS_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def leave_checkpoints(self) -> None:
        """On SQLite: leaves it to other processes to move what was written from the log to the file, which takes tens
        of milliseconds, unless the log has `CHECKPOINT_PAGES`."""
        if self.is_sqlite:
            self._engine.dispose()
            sa.event.listen(self._engine, "connect", _seldom_checkpoint)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One transaction. Raises StoreError if the database cannot be used (full disk, lock, no connection)."""
        try:
            with self._turn, self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise StoreError(_told(error, "used")) from None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: on SQLite it never waits for a writer."""
        try:
            with self._engine.connect().execution_options(read_only=True) as connection:
                yield connection
        except DBAPIError as error:
            raise StoreError(_told(error, "read")) from None

    @property
    def file(self) -> Path | None:
        """Where SQLite keeps it, None for PostgreSQL."""
        return Path(self._engine.url.database or "") if self.is_sqlite else None

    def connect(self) -> sa.Connection:
        """A connection without a transaction, for a lock that lasts longer than one."""
        try:
            return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError as error:
            raise StoreError(_told(error, "used")) from None

    def upsert(self, table: sa.Table, where: Callable[[Any], sa.ColumnElement[bool]] | None = None) -> sa.Insert:
        """An INSERT that updates the row of the same primary key. `where(new)` says when, given the new row."""
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key]
        new = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
        return statement.on_conflict_do_update(  # type: ignore[no-any-return]
            index_elements=keys, set_=new, where=where(statement.excluded) if where else None
        )

    def put(self, table: sa.Table, row: Mapping[str, Any]) -> sa.Insert:
        """An INSERT of a row that, where one of the same primary key is, sets the given columns of that one alone."""
        keys = [column.name for column in table.primary_key]
        given = {name: value for name, value in row.items() if name not in keys}
        statement = self._insert(table).values(row)
        if not given:
            return statement.on_conflict_do_nothing()  # type: ignore[no-any-return]
        return statement.on_conflict_do_update(index_elements=keys, set_=given)  # type: ignore[no-any-return]

    def write(self, statement: sa.Executable) -> int:
        """One statement in a transaction of its own; returns how many rows it changed."""
        with self.begin() as connection:
            return int(connection.execute(statement).rowcount)

    def add(self, table: sa.Table, names: Sequence[str]) -> sa.Insert:
        """An INSERT that adds the numbers in the columns `names` to those of the row of the same primary key."""
        statement = self._insert(table)
        sums = {name: table.c[name] + statement.excluded[name] for name in names}
        keys = [column.name for column in table.primary_key]
        return statement.on_conflict_do_update(index_elements=keys, set_=sums)  # type: ignore[no-any-return]

    def insert_or_ignore(self, table: sa.Table) -> sa.Insert:
        """An INSERT that leaves a row of the same primary key as it is."""
        return self._insert(table).on_conflict_do_nothing()  # type: ignore[no-any-return]

    def _insert(self, table: sa.Table) -> Any:
        dialect = importlib.import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        return dialect.insert(table)

    @property
    def driver(self) -> str:
        return self._engine.driver

    def own_connection(self) -> Any:
        """A connection of the driver that belongs to the caller, who closes it. Raises StoreError if there is none."""
        try:
            pooled = self._engine.raw_connection()
        except DBAPIError as error:
            raise StoreError(_told(error, "reached")) from None
        connection = pooled.driver_connection
        pooled.detach()
        return connection

    def now(self) -> Any:
        """Seconds since the epoch by the clock that all processes share: on PostgreSQL, an expression that it works
        out; on SQLite, whose processes are on one machine, a number."""
        if self.is_sqlite:
            return now()
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)

    def wipe(self) -> bool:
        """On SQLite: empties the write-ahead log, which still holds rows that were deleted; False if that must wait for
        somebody who reads or writes. Other databases do so by themselves."""
        if not self.is_sqlite:
            return True
        with self._turn, closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={WIPE_MILLISECONDS}")  # all writers wait meanwhile
                return not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError:
                return False
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")

    def close(self) -> None:
        self._engine.dispose()


def _as_json(value: Any) -> str:
    """JSON without what PostgreSQL cannot read again: NUL, and lone surrogates."""
    return _NUL.sub(r"\1 ", storable(json.dumps(value, ensure_ascii=False)))


def check_url(url: str) -> None:
    """Raises StoreError for a URL that no store can be opened with; connects to nothing."""
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
            parsed = parsed.set(database=url.removeprefix("sqlite:///"))  # a path: %20 is no blank in it
        return sa.create_engine(parsed, pool_pre_ping=not url.startswith("sqlite"), json_serializer=_as_json)
    except sa.exc.ArgumentError as error:
        raise StoreError(
            "APPRENTICE_STORE_URL is not a database URL such as postgresql+psycopg://user@host/name"
        ) from error
    except ImportError as error:
        raise StoreError(f"APPRENTICE_STORE_URL needs a driver that is not installed ({error})") from error


def _pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's recipe: we send BEGIN ourselves
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "foreign_keys=ON",
        "secure_delete=ON",  # what is deleted is overwritten, and not only forgotten
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _seldom_checkpoint(connection: Any, _record: Any) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")


def _begin_immediate(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a writer fails at once with "database is locked"; an immediate one waits.
    if connection.get_execution_options().get("read_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite itself would sleep up to 0.1 s at a time between two tries, which a webhook would feel
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
            time.sleep(TURN_SECONDS)
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")


def _told(error: DBAPIError, what: str) -> str:
    # the first line alone: PostgreSQL shows the failing row, and so task text, in the next ones
    reason = str(error.orig).partition("\n")[0]
    return f"The store cannot be {what} ({reason}): check its disk and APPRENTICE_STORE_URL"


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`: rows of one transaction, so that a webhook never waits long behind many."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def now() -> float:
    """Seconds since the epoch: leases and ages are compared between processes of one machine or one database."""
    return time.time()


def process_name() -> str:
    """Names this process among the owners of leases."""
    return f"{os.uname().nodename}-{os.getpid()}"
