"""Moves the database of a store to another revision of its tables, and writes rows of that revision."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from ml_backend.storage import Store
from ml_backend.storage.database import MIGRATIONS


def migrate(store: Store, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with store.database.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def insert(store: Store, table_name: str, /, **row: Any) -> None:
    """Inserts a row in a table as the table is now in the database."""
    with store.database.begin() as connection:
        table = sa.Table(table_name, sa.MetaData(), autoload_with=connection)
        connection.execute(sa.insert(table), [row])
