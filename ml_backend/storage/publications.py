"""Publications: the queue that Label Studio serves, the fingerprint of its inputs, and the timings of publishing."""

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
    """The table `publication`. The fingerprint is "" if the next round must publish in any case."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def switch(self, version: ModelVersion, queue: Sequence[Prediction], lease: Lease | None = None) -> None:
        """Makes a version the serving one, and stores its queue, of which rows may still be missing in Label Studio.
        Raises LeaseLostError, and changes nothing, if another worker has claimed the project."""
        with self._database.begin() as connection:
            check_lease(connection, lease)
            published_drafts.put(connection, self._database, version.project, version.name, queue)
            activate(connection, version.project, version.number)
            row = {"project": version.project, "published": version.name, "fingerprint": ""}
            connection.execute(self._database.put(table, row))

    def complete(self, project: int, fingerprint: str, republish: int, lease: Lease | None = None) -> bool:
        """Marks the published queue as complete. Returns False, and changes nothing, if another publication was
        requested since the round began. Raises LeaseLostError.

        fingerprint  of the inputs that the queue was made from
        republish    number of requests for another publication when the round began
        """
        with self._database.begin() as connection:
            check_lease(connection, lease)
            connection.execute(self._database.insert_or_ignore(table).values(project=project))
            change = sa.update(table).where(table.c.project == project, table.c.republish == republish)
            return connection.execute(change.values(fingerprint=fingerprint)).rowcount == 1

    def is_complete(self, project: int) -> bool:
        """Returns whether the published queue is complete, and no other publication is requested."""
        with self._database.read() as connection:
            return bool(connection.execute(sa.select(table.c.fingerprint).where(table.c.project == project)).scalar())

    def request(self, project: int) -> None:
        """Makes the next round publish, even if no input has changed."""
        with self._database.begin() as connection:
            connection.execute(self._database.insert_or_ignore(table).values(project=project))
            change = sa.update(table).where(table.c.project == project)
            connection.execute(change.values(fingerprint="", republish=table.c.republish + 1))

    def withdraw(self, project: int) -> None:
        """Stores that Label Studio serves no version of this backend any more."""
        change = sa.update(table).where(table.c.project == project)
        self._database.write(change.values(published=None, fingerprint="", republish=table.c.republish + 1))

    def set_timings(self, project: int, bulk: float | None, single: float | None) -> None:
        """Stores the measured seconds of a bulk import and of a single row; None if it was not measured yet."""
        row = {"project": project, "bulk_seconds": bulk, "single_seconds": single}
        self._database.write(self._database.put(table, row))
