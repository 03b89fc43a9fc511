"""What `connect` made in Label Studio: of each project one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import connection as table

UNFINISHED = "unfinished"
_NAMES = {"webhook": "webhook", "ml": "ml_backend", "view": "tab", "second look": "second_look_tab"}
"""What `ProjectRecord.connection` calls each column."""


class Connections:
    """The table `connection`. A project without a row is not connected."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, project: int, earlier: Mapping[str, Any]) -> None:
        """Remembers the project's own settings, unless they are known from an earlier time."""
        row = {"project": project, "earlier": dict(earlier), "complete": False}
        self._database.write(self._database.insert_or_ignore(table).values(row))

    def complete(
        self, project: int, webhook: int, ml_backend: int, tab: int, second_look_tab: int | None = None
    ) -> None:
        """The project is connected from now on."""
        made = {"webhook": webhook, "ml_backend": ml_backend, "tab": tab, "complete": True}
        if second_look_tab is not None:
            made["second_look_tab"] = second_look_tab
        self._database.write(self._database.put(table, {"project": project, **made}))

    def suspend(self, project: int) -> None:
        """No round runs from now on; what was made stays known."""
        self._database.write(sa.update(table).where(table.c.project == project).values(complete=False))

    def resume(self, project: int) -> None:
        self._database.write(sa.update(table).where(table.c.project == project).values(complete=True))

    def add_second_look_tab(self, project: int, tab: int) -> bool:
        """Notes the tab of reviews; False if the project is connected no more, or has one."""
        alone = sa.update(table).where(table.c.project == project, table.c.complete, table.c.second_look_tab.is_(None))
        return self._database.write(alone.values(second_look_tab=tab)) == 1

    def forget(self, project: int) -> None:
        self._database.write(sa.delete(table).where(table.c.project == project))


def compose(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as `ProjectRecord.connection` shows it: what there is, by name, and whether that is not all yet."""
    made = {name: row[column] for name, column in _NAMES.items() if row[column] is not None}
    earlier = {} if row["earlier"] is None else {"earlier": row["earlier"]}
    return {**made, **earlier, **({} if row["complete"] else {UNFINISHED: True})}
