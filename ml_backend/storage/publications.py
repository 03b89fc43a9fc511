"""What Label Studio serves, what that came from, and how long publishing takes there."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ml_backend.core.types import ModelVersion, Prediction
from ml_backend.storage import published_drafts
from ml_backend.storage.database import Database
from ml_backend.storage.jobs import Lease, check_lease
from ml_backend.storage.schema import publication as table
from ml_backend.storage.versions import activate


class Publications:
    """The table `publication`. The fingerprint of a queue that is to be published again in any case is ""."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def switch(self, version: ModelVersion, queue: Sequence[Prediction], lease: Lease | None = None) -> None:
        """A version serves from now on, with its queue, which may still lack rows. Raises LeaseLostError, and changes
        nothing, if another worker has taken the project over."""
        with self._database.begin() as connection:
            check_lease(connection, lease)
            published_drafts.put(connection, self._database, version.project, version.name, queue)
            activate(connection, version.project, version.number)
            row = {"project": version.project, "published": version.name, "fingerprint": ""}
            connection.execute(self._database.put(table, row))

    def settle(self, project: int, fingerprint: str, republish: int, lease: Lease | None = None) -> bool:
        """The published queue is complete, and came from what has this fingerprint. False if it was asked since to
        publish in any case: `republish` is the count of such requests that the round knew."""
        with self._database.begin() as connection:
            check_lease(connection, lease)
            connection.execute(self._database.insert_or_ignore(table).values(project=project))
            undisturbed = sa.update(table).where(table.c.project == project, table.c.republish == republish)
            return connection.execute(undisturbed.values(fingerprint=fingerprint)).rowcount == 1

    def is_settled(self, project: int) -> bool:
        """Whether the published queue is complete, and nobody wants it published again."""
        with self._database.read() as connection:
            return bool(connection.execute(sa.select(table.c.fingerprint).where(table.c.project == project)).scalar())

    def request(self, project: int) -> None:
        """The next round publishes, whether anything has changed or not."""
        with self._database.begin() as connection:
            connection.execute(self._database.insert_or_ignore(table).values(project=project))
            again = sa.update(table).where(table.c.project == project)
            connection.execute(again.values(fingerprint="", republish=table.c.republish + 1))

    def withdraw(self, project: int) -> None:
        """Nothing of this backend is served any more."""
        change = sa.update(table).where(table.c.project == project)
        self._database.write(change.values(published=None, fingerprint="", republish=table.c.republish + 1))

    def measure(self, project: int, bulk: float | None, single: float | None) -> None:
        """Keeps the measured seconds of a bulk import and of a single row, None where nothing was measured yet."""
        row = {"project": project, "bulk_seconds": bulk, "single_seconds": single}
        self._database.write(self._database.put(table, row))
