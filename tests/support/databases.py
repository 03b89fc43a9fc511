"""Fixtures that run a test on both databases: SQLite, and PostgreSQL where a server is installed."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from manual_clock import ManualClock

from ml_backend.core.settings import Settings
from ml_backend.storage import Store
from ml_backend.storage.database import Database

MIN_FREE_MEMORY_BYTES = 1 << 30  # in a folder in memory, for PostgreSQL's files
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replaces the migration of an empty SQLite file by a copy of a migrated one: a migration takes 50 ms, and a run of
    the tests needs a thousand. Files with content, and files that other processes open, are migrated."""
    file = tmp_path_factory.mktemp("migrated") / "apprentice.db"
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    database.close()
    content, upgrade = file.read_bytes(), Database.upgrade

    def upgrade_or_copy(database: Database) -> None:
        path = Path(database._engine.url.database or "") if database.is_sqlite else None
        if path is not None and path.is_file() and not path.stat().st_size:
            path.write_bytes(content)
        else:
            upgrade(database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "upgrade", upgrade_or_copy)
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Starts a PostgreSQL server on a Unix socket in a temporary folder. Yields its URL, with `{}` for the database."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binary = shutil.which("initdb") or (str(binaries[-1]) if binaries else None)
    if binary is None:
        pytest.skip("no PostgreSQL server is installed")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=memory_folder()))
    as_other: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        as_other = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run([*as_other, *command], check=True, capture_output=True, timeout=120, cwd=folder)

    try:
        run(binary, "--pgdata", str(data), "--auth", "trust", "--username", "tester", "--no-sync")
        control = str(Path(binary).with_name("pg_ctl"))
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        run(control, "--pgdata", str(data), "--options", options, "--wait", "--log", str(folder / "log"), "start")
        try:
            yield f"postgresql+psycopg://tester@/{{}}?host={folder}"
        finally:
            run(control, "--pgdata", str(data), "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def memory_folder() -> Path | None:
    """Returns a folder in memory, in which copying a database takes a quarter of the time; None if it is too full."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > MIN_FREE_MEMORY_BYTES else None


@contextmanager
def database_of(server: str, template: str = "template1") -> Iterator[str]:
    """Creates a copy of the database `template` on a server of `postgresql`, yields its URL, and drops it."""
    import psycopg

    name = f"test{next(_numbers)}"
    host = server.partition("host=")[2]
    with psycopg.connect(host=host, user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: str) -> Iterator[str]:
    """The name of a migrated database to copy, because a migration takes 150 ms of processor time."""
    with database_of(postgresql) as url:
        database = Database(url)
        database.upgrade()
        database.close()
        yield str(sa.make_url(url).database)


@pytest.fixture
def new_postgresql(postgresql: str, migrated_postgresql: str) -> Iterator[str]:
    """The URL of a migrated database without rows."""
    with database_of(postgresql, migrated_postgresql) as url:
        yield url


@pytest.fixture
def empty_postgresql(postgresql: str) -> Iterator[str]:
    """The URL of a database without tables."""
    with database_of(postgresql) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings of a store without rows. PostgreSQL has the tables already; SQLite gets them when a store opens it."""
    if request.param == "sqlite":
        return make_settings()
    return make_settings(store_url=request.getfixturevalue("new_postgresql"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_empty_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings of a store without tables."""
    if request.param == "sqlite":
        return make_settings()
    return make_settings(store_url=request.getfixturevalue("empty_postgresql"))


@pytest.fixture
def statements(store: Store) -> list[str]:
    """Collects the SQL statements that the store executes, except those that begin or end a transaction."""
    executed: list[str] = []

    def note(_connection: object, _cursor: object, text: str, *_: object) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            executed.append(text)

    sa.event.listen(store.database._engine, "before_cursor_execute", note)
    return executed


@pytest.fixture
def any_store(any_settings: Settings, clock: ManualClock) -> Iterator[Store]:
    store = Store(any_settings, clock=clock)
    yield store
    store.close()
