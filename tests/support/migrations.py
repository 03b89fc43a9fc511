"""Moves the database of a store to another revision of its tables."""

from __future__ import annotations

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
