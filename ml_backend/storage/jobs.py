"""One row per project: a round is wanted, running under a lease, or done.

Requests coalesce: however many events come in, at most one round runs and one waits. Every claim raises the `token`,
and whoever publishes proves first that its token is still the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend.core.exceptions import LeaseLostError
from ml_backend.storage.database import Database
from ml_backend.storage.schema import connection as connections
from ml_backend.storage.schema import job as table
from ml_backend.storage.schema import worker
from ml_backend.storage.signals import Signals

MAX_BACKOFF_SECONDS = 60.0
LONGEST_BACKOFF = 6  # failures in a row, after which the pause is the longest
Clock = Callable[[], float]


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
    """The tables `job` and `worker`. All times are the database's, whatever the clocks of the workers' machines say."""

    def __init__(
        self, database: Database, lease_seconds: float, clock: Clock | None = None, signals: Signals | None = None
    ) -> None:
        """`clock` tells the time in place of the database's; over `signals` workers hear at once of what is wanted."""
        self._database = database
        self._announced = signals.announced if signals else database.begin
        self._seconds = lease_seconds
        self._now: Callable[[], Any] = clock or database.now

    def request(self, project: int, *, retry: bool = False) -> None:
        """Asks for a round: it answers everything stored before it starts. The pause of a project whose rounds fail
        goes on, unless somebody wants it tried again: `retry`."""
        pause = 0.0 if retry else sa.case((table.c.failures > 0, table.c.not_before), else_=0.0)
        self._want(project, sa.true(), pause)

    def ask(self, project: int, after: float = 0.0) -> None:
        """Asks for a round, `after` seconds, unless one is waiting or failing already: for what can wait its turn."""
        now = self._now()
        running = sa.and_(table.c.owner.is_not(None), table.c.lease_until >= now)
        answered = sa.case((running, table.c.covers), else_=table.c.done)
        self._want(project, table.c.wanted <= answered, now + after if after else 0.0)

    def _want(self, project: int, condition: sa.ColumnElement[bool], not_before: Any) -> None:
        change = sa.update(table).where(table.c.project == project, condition)
        with self._announced() as connection:
            connection.execute(self._database.insert_or_ignore(table).values(project=project))
            connection.execute(change.values(wanted=table.c.wanted + 1, not_before=not_before))

    def claim(self, owner: str) -> Lease | None:
        """Takes the longest-waiting project that nobody works on, or None."""
        if not self.claimable():
            return None
        free = self._free()
        with self._database.begin() as connection:
            oldest = (
                sa.select(table).where(free).order_by(table.c.lease_until).limit(1).with_for_update(skip_locked=True)
            )
            row = connection.execute(oldest).mappings().first()
            if row is None:
                return None
            lease = Lease(row["project"], owner, row["token"] + 1, row["wanted"])
            taken = sa.update(table).where(table.c.project == lease.project).where(table.c.token == row["token"])
            taken = taken.values(
                owner=owner, token=lease.token, covers=lease.covers, lease_until=self._now() + self._seconds
            )
            return lease if connection.execute(taken).rowcount == 1 else None

    def _free(self) -> sa.ColumnElement[bool]:
        """The rows of projects for which a round is wanted, and nobody works on it."""
        now = self._now()
        unowned = sa.or_(table.c.owner.is_(None), table.c.lease_until < now)
        return sa.and_(table.c.wanted > table.c.done, unowned, table.c.not_before <= now)

    def claimable(self) -> bool:
        """Whether some project waits for a worker."""
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.project).where(self._free()).limit(1)).first() is not None

    def renew(self, lease: Lease) -> bool:
        """Extends a lease; False if it was lost, and then nothing more may be published under it."""
        return self._mine(lease, lease_until=self._now() + self._seconds)

    def may_publish(self, lease: Lease) -> bool:
        """Whether a lease is still held, and its project connected."""
        mine = sa.and_(table.c.project == lease.project, table.c.token == lease.token, table.c.owner == lease.owner)
        both = table.join(connections, connections.c.project == table.c.project)
        query = sa.select(table.c.project).select_from(both).where(mine, connections.c.complete)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def is_awaited(self, lease: Lease) -> bool:
        """Whether something newer than the lease covers is wanted now, or another project waits for a worker."""
        wanted = sa.and_(table.c.wanted > lease.covers, table.c.not_before <= self._now())
        newer = sa.and_(table.c.project == lease.project, wanted)
        query = sa.select(table.c.project).where(sa.or_(newer, self._free())).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def finish(self, lease: Lease) -> bool:
        """The round is done; later requests stay waiting."""
        return self._mine(lease, done=lease.covers, owner=None, lease_until=self._now(), failures=0, not_before=0.0)

    def fail(self, lease: Lease) -> bool:
        """Gives the project back to be tried again, after a pause that doubles with every failure in a row."""
        pauses = {failures: min(2.0**failures, MAX_BACKOFF_SECONDS) for failures in range(LONGEST_BACKOFF)}
        pause = sa.case(pauses, value=table.c.failures, else_=MAX_BACKOFF_SECONDS)
        now = self._now()
        return self._mine(lease, owner=None, lease_until=now, failures=table.c.failures + 1, not_before=now + pause)

    def release(self, lease: Lease) -> bool:
        """Hands a lease back unfinished, for another worker to take at once."""
        with self._announced() as connection:
            return _change(connection, lease, owner=None, lease_until=0.0)

    def _mine(self, lease: Lease, **values: object) -> bool:
        with self._database.begin() as connection:
            return _change(connection, lease, **values)

    def state(self, project: int) -> JobState:
        held = sa.and_(table.c.owner.is_not(None), table.c.lease_until >= self._now()).label("running")
        with self._database.read() as connection:
            row = connection.execute(sa.select(table, held).where(table.c.project == project)).mappings().first()
        if row is None:
            return JobState(False, False, 0, None)
        running = bool(row["running"])
        answered = row["covers"] if running else row["done"]
        return JobState(running, row["wanted"] > answered, row["failures"], row["owner"])

    def beat(self, name: str, pid: int) -> None:
        """A worker says that it lives."""
        with self._database.begin() as connection:
            connection.execute(self._database.put(worker, {"name": name, "pid": pid, "seen_at": self._now()}))
            connection.execute(sa.delete(worker).where(worker.c.seen_at < self._now() - 3600))

    def leave(self, name: str) -> None:
        """A worker says that it ends."""
        with self._database.begin() as connection:
            connection.execute(sa.delete(worker).where(worker.c.name == name))

    def workers(self, within_seconds: float = 30.0) -> list[str]:
        """The workers heard of lately."""
        query = sa.select(worker.c.name).where(worker.c.seen_at >= self._now() - within_seconds).order_by(worker.c.name)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())


def _change(connection: sa.Connection, lease: Lease, **values: object) -> bool:
    """Changes the row of a lease; False if it was lost."""
    mine = sa.update(table).where(table.c.project == lease.project, table.c.token == lease.token)
    return connection.execute(mine.where(table.c.owner == lease.owner).values(**values)).rowcount == 1


def check_lease(connection: sa.Connection, lease: Lease | None) -> None:
    """Raises LeaseLostError, inside a transaction of the caller, if another worker has taken the project over; until
    that transaction ends, none can. None: the caller is alone."""
    if lease is None:
        return
    mine = sa.select(table.c.project).where(
        table.c.project == lease.project, table.c.token == lease.token, table.c.owner == lease.owner
    )
    if connection.execute(mine.with_for_update()).first() is None:
        raise LeaseLostError(f"the lease of project {lease.project} is gone: another worker has taken over")
