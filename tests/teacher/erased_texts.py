"""Whether texts of deleted tasks are left in the store."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend.storage import Store
from ml_backend.storage.quote_erasure import ErasureLimits, QuoteEraser
from ml_backend.storage.schema import metadata


def tables_with(store: Store, text: str) -> set[str]:
    """Those of a row that has the text where texts stand, or in quotes; the text alone may be part of others."""
    with store.database.read() as connection:
        return {
            table.name
            for table in metadata.tables.values()
            for row in connection.execute(sa.select(table))
            if f'"{text}"' in repr(tuple(row)).replace("\\", "").replace("'", '"')
        }


def erase(store: Store) -> None:
    eraser = QuoteEraser(store.database, ErasureLimits(step_seconds=600.0, keep_seconds=0.0))
    while eraser.step(5):
        pass
