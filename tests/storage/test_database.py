"""The database: its tables match the migrations, any process may open it, and its failures are StoreErrors."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from projects import set_up
from pydantic import SecretStr
from schemas import first_of

from ml_backend.core.exceptions import StoreError
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskContent, content_key
from ml_backend.storage import Store, read_credentials, save_credentials, schema
from ml_backend.storage.database import MIGRATIONS, Database
from ml_backend.storage.schema import metadata


def test_the_migrations_create_the_tables_of_the_schema(any_store: Store) -> None:
    with any_store.database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_upgrading_twice_keeps_the_data(any_store: Store) -> None:
    set_up(any_store, 5, label_config="<View/>")
    any_store.database.upgrade()
    any_store.database.upgrade()
    assert any_store.projects.ensure(5).label_config == "<View/>"


def test_a_store_of_the_first_schema_is_upgraded_and_its_tasks_are_read_again(any_store: Store) -> None:
    set_up(any_store, 5, label_config="<View/>", read_under="label text text")
    any_store.tasks.put(5, [TaskContent(1, "text", content_key("text"))])
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with any_store.database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    any_store.database.upgrade()
    project_row = any_store.projects.ensure(5)
    assert (project_row.label_config, project_row.read_under, first_of(project_row.monitor_results)) == (
        "<View/>",
        "",
        None,
    )
    assert any_store.tasks.texts(5, [1]) == ["text"]
    assert any_store.tasks.values(5, "region", [1]) == {}


def test_processes_may_upgrade_an_empty_database_at_once(any_empty_settings: Settings) -> None:
    code = (
        "import sys\nfrom ml_backend.core.settings import Settings\nfrom ml_backend.storage import Store\n"
        "sys.stdin.readline()\n"
        "store = Store(Settings(_env_file=None))\nstore.projects.ensure(int(sys.argv[1]))\nstore.close()"
    )
    environment = {
        **os.environ,
        "APPRENTICE_DATA_DIR": str(any_empty_settings.data_dir),
        "APPRENTICE_STORE_URL": any_empty_settings.store_url,
    }
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], env=environment, stdin=subprocess.PIPE)
        for n in range(1, 5)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.close()
    assert [racer.wait(60) for racer in racers] == [0, 0, 0, 0]
    store = Store(any_empty_settings)
    assert [project_row.id for project_row in store.projects.all()] == [1, 2, 3, 4]
    store.close()


def test_only_the_owner_may_read_the_database_and_the_credentials(settings: Settings, store: Store) -> None:
    save_credentials(settings.data_dir, "http://ls", "key")
    for name in ("apprentice.db", "credentials.json"):
        assert stat.S_IMODE((settings.data_dir / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700


def test_credentials_are_read_as_they_were_saved(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert read_credentials(settings) == (settings.label_studio_url, "")
    save_credentials(tmp_path, "http://first", "one")
    save_credentials(tmp_path, "http://second", "two")
    assert read_credentials(settings) == ("http://second", "two")


def test_a_configured_key_comes_before_a_saved_one(tmp_path: Path) -> None:
    save_credentials(tmp_path, "http://first", "one")
    chosen = Settings(data_dir=tmp_path, label_studio_url="http://second/", label_studio_api_key=SecretStr("two"))
    assert read_credentials(chosen) == ("http://second", "two")


def test_a_configured_key_is_used_with_the_saved_url(tmp_path: Path) -> None:
    save_credentials(tmp_path, "http://first", "one")
    assert read_credentials(Settings(data_dir=tmp_path, label_studio_api_key=SecretStr("two"))) == (
        "http://first",
        "two",
    )


def test_a_saved_key_is_not_sent_to_another_server(tmp_path: Path) -> None:
    save_credentials(tmp_path, "http://first", "one")
    assert read_credentials(Settings(data_dir=tmp_path, label_studio_url="http://first/")) == ("http://first", "one")
    assert read_credentials(Settings(data_dir=tmp_path, label_studio_url="http://second")) == ("http://second", "")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"label_studio_url": 1}'])
def test_a_damaged_credentials_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "credentials.json").write_text(content)
    assert read_credentials(Settings(data_dir=tmp_path))[1] == ""


@pytest.mark.parametrize("url", ["nonsense", "oracle-of-delphi://host/name", "postgresql+nodriver://host/name"])
def test_an_invalid_store_url_is_reported(make_settings: Callable[..., Settings], url: str) -> None:
    with pytest.raises(StoreError, match="APPRENTICE_STORE_URL"):
        Store(make_settings(store_url=url))


@pytest.mark.parametrize(
    "url", ["mysql+pymysql://user@host/name", "mssql+pyodbc://host/name", "mysql+nodriver://host/n"]
)
def test_a_database_that_is_neither_sqlite_nor_postgresql_is_refused_before_a_driver_is_looked_for(
    make_settings: Callable[..., Settings], url: str
) -> None:
    with pytest.raises(StoreError, match=r"only PostgreSQL .* and SQLite are supported"):
        Store(make_settings(store_url=url))


def test_a_data_folder_that_cannot_be_made_is_a_store_error(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        Store(make_settings(data_dir=tmp_path / "file" / "data"))


def test_a_file_that_is_no_database_is_a_store_error(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "apprentice.db").write_text("not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="cannot be"):
        Store(make_settings())


def test_a_failed_transaction_leaves_nothing_behind(any_store: Store) -> None:
    from ml_backend.storage.schema import project

    with pytest.raises(StoreError), any_store.database.begin() as connection:
        connection.execute(any_store.database.insert_or_ignore(project), [{"id": 9}])
        connection.execute(sa.text("SELECT * FROM no_such_table"))
    assert any_store.projects.get(9) is None


def test_a_data_folder_with_odd_characters_works(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    store = Store(make_settings(data_dir=tmp_path / "a b%20c é"))
    set_up(store, 1)
    store.close()
    assert (tmp_path / "a b%20c é" / "apprentice.db").is_file()


def test_a_process_that_leaves_checkpoints_to_others_writes_only_to_the_log(tmp_path: Path) -> None:
    file = tmp_path / "apprentice.db"
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.stat().st_size
    database.leave_checkpoints()
    row = {"project": 5, "id": 1, "key": b"k" * 16, "text": "x" * 6_000_000, "revision": 0}
    database.write(sa.insert(schema.task).values(row))
    assert file.stat().st_size == before
    other = Database(f"sqlite:///{file}")
    other.write(sa.insert(schema.task).values({**row, "id": 2, "text": ""}))
    # a part of it fills pages that a migration has freed
    assert file.stat().st_size > before + 5_900_000, "another process moves it to the file"
    other.close()
    database.close()
