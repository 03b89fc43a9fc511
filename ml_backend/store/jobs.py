"""One row per project: a round is wanted, running under a lease, or done.

Requests coalesce: however many events come in, at most one round runs and one waits. Every claim raises the `token`,
and whoever publishes proves first that its token is still the newest.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ml_backend.store.database import Database, now
from ml_backend.store.schema import job as table
from ml_backend.store.schema import worker

MAX_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run one project's round: `covers` is the newest request that the round answers."""

    project: int
    owner: str
    token: int
    covers: int


@dataclass(frozen=True, slots=True)
class JobState:
    running: bool
    waiting: bool
    failures: int
    owner: str | None


class Jobs:
    """The tables `job` and `worker`. Leases go by the machine's clock: between machines, keep them above its skew."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._seconds = lease_seconds

    def request(self, project: int, after: float = 0.0) -> None:
        """Asks for a round, at once or `after` seconds: it answers everything stored before it starts."""
        not_before = now() + after if after else 0.0
        change = sa.update(table).where(table.c.project == project)
        change = change.values(wanted=table.c.wanted + 1, not_before=not_before)
        with self._database.begin() as connection:
            if connection.execute(change).rowcount == 0:
                connection.execute(self._database.insert_or_ignore(table), [{"project": project}])
                connection.execute(change)

    def ask(self, project: int, after: float = 0.0) -> None:
        """Asks for a round unless one is waiting or failing already: for what can wait its turn."""
        state = self.state(project)
        if not state.waiting:
            self.request(project, after)

    def claim(self, owner: str) -> Lease | None:
        """Takes the longest-waiting project that nobody works on, or None."""
        if not self.claimable():
            return None
        free = _free()
        with self._database.begin() as connection:
            oldest = (
                sa.select(table).where(free).order_by(table.c.lease_until).limit(1).with_for_update(skip_locked=True)
            )
            row = connection.execute(oldest).mappings().first()
            if row is None:
                return None
            lease = Lease(row["project"], owner, row["token"] + 1, row["wanted"])
            taken = sa.update(table).where(table.c.project == lease.project).where(table.c.token == row["token"])
            taken = taken.values(owner=owner, token=lease.token, covers=lease.covers, lease_until=now() + self._seconds)
            return lease if connection.execute(taken).rowcount == 1 else None

    def claimable(self) -> bool:
        """Whether some project waits for a worker."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.project).where(_free()).limit(1)).first() is not None

    def renew(self, lease: Lease) -> bool:
        """Extends a lease; False if it was lost, and then nothing more may be published under it."""
        return self._mine(lease, lease_until=now() + self._seconds)

    def superseded(self, lease: Lease) -> bool:
        """Whether something newer than the lease covers is wanted."""
        query = sa.select(table.c.wanted).where(table.c.project == lease.project)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one()) > lease.covers

    def finish(self, lease: Lease) -> bool:
        """The round is done; later requests stay waiting."""
        return self._mine(lease, done=lease.covers, owner=None, lease_until=now(), failures=0, not_before=0.0)

    def fail(self, lease: Lease) -> bool:
        """Gives the project back to be tried again, after a pause that doubles with every failure in a row."""
        with self._database.read() as connection:
            query = sa.select(table.c.failures).where(table.c.project == lease.project)
            failures = int(connection.execute(query).scalar_one()) + 1
        pause = min(2.0 ** min(failures - 1, 10), MAX_BACKOFF_SECONDS)
        return self._mine(lease, owner=None, lease_until=now(), failures=failures, not_before=now() + pause)

    def release(self, lease: Lease) -> bool:
        """Hands a lease back unfinished, for another worker to take at once."""
        return self._mine(lease, owner=None, lease_until=0.0)

    def _mine(self, lease: Lease, **values: object) -> bool:
        mine = sa.update(table).where(table.c.project == lease.project, table.c.token == lease.token)
        with self._database.begin() as connection:
            return connection.execute(mine.where(table.c.owner == lease.owner).values(**values)).rowcount == 1

    def state(self, project: int) -> JobState:
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(table.c.project == project)).mappings().first()
        if row is None:
            return JobState(False, False, 0, None)
        running = row["owner"] is not None and row["lease_until"] >= now()
        answered = row["covers"] if running else row["done"]
        return JobState(running, row["wanted"] > answered, row["failures"], row["owner"])

    def beat(self, name: str, pid: int) -> None:
        """A worker says that it lives."""
        with self._database.begin() as connection:
            connection.execute(self._database.upsert(worker), [{"name": name, "pid": pid, "seen_at": now()}])
            connection.execute(sa.delete(worker).where(worker.c.seen_at < now() - 3600))

    def leave(self, name: str) -> None:
        """A worker says that it ends."""
        with self._database.begin() as connection:
            connection.execute(sa.delete(worker).where(worker.c.name == name))

    def workers(self, within_seconds: float = 30.0) -> list[str]:
        """The workers heard of lately."""
        query = sa.select(worker.c.name).where(worker.c.seen_at >= now() - within_seconds).order_by(worker.c.name)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())


def _free() -> sa.ColumnElement[bool]:
    """The rows of projects for which a round is wanted, and nobody works on it."""
    unowned = sa.or_(table.c.owner.is_(None), table.c.lease_until < now())
    return sa.and_(table.c.wanted > table.c.done, unowned, table.c.not_before <= now())
