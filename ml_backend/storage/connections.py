"""The objects that `connect` created in Label Studio, one row for each project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ml_backend.storage.database import Database
from ml_backend.storage.schema import connection as table

UNFINISHED = "unfinished"
_COLUMN_OF = {"webhook": "webhook", "ml": "ml_backend", "view": "tab", "second look": "second_look_tab"}
"""Key in `ProjectRow.connection` -> column."""


class Connections:
    """The table `connection`. A project without a row is not connected."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, project: int, earlier: Mapping[str, Any]) -> None:
        """Stores the project's settings in Label Studio as they were before `connect`. Keeps them if they are stored
        already."""
        row = {"project": project, "earlier": dict(earlier), "complete": False}
        self._database.write(self._database.insert_or_ignore(table).values(row))

    def complete(
        self, project: int, webhook: int, ml_backend: int, tab: int, second_look_tab: int | None = None
    ) -> None:
        """Marks the project as connected, and stores the ids of the objects that `connect` created."""
        values = {"webhook": webhook, "ml_backend": ml_backend, "tab": tab, "complete": True}
        if second_look_tab is not None:
            values["second_look_tab"] = second_look_tab
        self._database.write(self._database.put(table, {"project": project, **values}))

    def suspend(self, project: int) -> None:
        """Stops the rounds of the project, and keeps the ids of the objects that `connect` created."""
        self._database.write(sa.update(table).where(table.c.project == project).values(complete=False))

    def resume(self, project: int) -> None:
        self._database.write(sa.update(table).where(table.c.project == project).values(complete=True))

    def add_second_look_tab(self, project: int, tab: int) -> bool:
        """Stores the id of the tab of the label review. Returns False if the project is no longer connected, or has
        such a tab."""
        change = sa.update(table).where(table.c.project == project, table.c.complete, table.c.second_look_tab.is_(None))
        return self._database.write(change.values(second_look_tab=tab)) == 1

    def forget(self, project: int) -> None:
        self._database.write(sa.delete(table).where(table.c.project == project))


def compose(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row as `ProjectRow.connection` has it: the ids that are set, the earlier settings, and `UNFINISHED`
    while `connect` or `disconnect` is under way."""
    ids = {name: row[column] for name, column in _COLUMN_OF.items() if row[column] is not None}
    earlier = {} if row["earlier"] is None else {"earlier": row["earlier"]}
    return {**ids, **earlier, **({} if row["complete"] else {UNFINISHED: True})}
