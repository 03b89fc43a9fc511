"""The same tests on both databases: `any_store` is a store on SQLite, and on PostgreSQL where a server is installed."""

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

from ml_backend.core.settings import Settings
from ml_backend.storage import Store
from ml_backend.storage.database import Database

MEMORY_BYTES = 1 << 30  # free in the folder that PostgreSQL's files may lie in
_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An SQLite file without content becomes a copy of one that the migrations have made: they take 50 ms, a thousand
    times over. A file that has any is migrated as ever, and so is every file that another process opens."""
    file = tmp_path_factory.mktemp("migrated") / "apprentice.db"
    made = Database(f"sqlite:///{file}")
    made.upgrade()
    made.close()
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
    """The URL, without a database's name filled in, of a server of our own on a Unix socket in a temporary folder."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binary = shutil.which("initdb") or (str(found[-1]) if found else None)
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
    """A folder in memory, where a database is copied in a quarter of the time; None if there is too little room."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > MEMORY_BYTES else None


@contextmanager
def database_of(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database on a server of `postgresql`, a copy of the database `template`."""
    import psycopg

    name = f"test{next(_numbers)}"
    host = server.partition("host=")[2]
    with psycopg.connect(host=host, user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: str) -> Iterator[str]:
    """The name of a database that the migrations have made, to copy: they take 150 ms of processor time."""
    with database_of(postgresql) as url:
        database = Database(url)
        database.upgrade()
        database.close()
        yield str(sa.make_url(url).database)


@pytest.fixture
def new_postgresql(postgresql: str, migrated_postgresql: str) -> Iterator[str]:
    """The URL of a database without rows that the migrations have made."""
    with database_of(postgresql, migrated_postgresql) as url:
        yield url


@pytest.fixture
def empty_postgresql(postgresql: str) -> Iterator[str]:
    """The URL of a database without tables."""
    with database_of(postgresql) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings of a store without rows. The tables are there on PostgreSQL; on SQLite the first who opens it makes
    them."""
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
    """The SQL statements that the store executes from now on, beside those of transactions themselves."""
    executed: list[str] = []

    def note(_connection: object, _cursor: object, text: str, *_: object) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            executed.append(text)

    sa.event.listen(store.database._engine, "before_cursor_execute", note)
    return executed


@pytest.fixture
def any_store(any_settings: Settings) -> Iterator[Store]:
    store = Store(any_settings)
    yield store
    store.close()
