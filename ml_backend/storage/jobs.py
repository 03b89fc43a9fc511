"""The job of each project: whether a round is requested, running under a lease, or done.

Requests coalesce: however many events come in, at most one round runs and one waits. The requests of a project are
numbered: `wanted` is the newest request, `covers` the newest request that the running round answers, and `done` the
newest one that a completed round has answered. Every claim raises the `token` (a fencing token), and a worker checks
before it publishes that its token is still the newest.

A request after an event has no earliest start (`not_before` is 0), and interrupts a round that publishes the rest of
its queue. Other requests have an earliest start and interrupt no round. Otherwise, several projects with incomplete
queues would interrupt each other without end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend.core.clock import Clock
from ml_backend.core.exceptions import LeaseLostError
from ml_backend.storage.database import Database
from ml_backend.storage.schema import connection as connections
from ml_backend.storage.schema import job as table
from ml_backend.storage.schema import worker
from ml_backend.storage.signals import Signals

MAX_BACKOFF_SECONDS = 60.0
FAILURES_TO_MAX_BACKOFF = 6  # successive failures after which the pause is MAX_BACKOFF_SECONDS
WORKER_EXPIRY_SECONDS = 3600  # age of the last heartbeat from which the row of a worker is removed


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run one round of a project. `covers`: the number of the newest request that the round answers."""

    project: int
    owner: str
    token: int
    covers: int


@dataclass(frozen=True, slots=True)
class JobState:
    """Whether a round is running and whether another one is requested; the number of successive failures; and the
    owner of the lease."""

    running: bool
    waiting: bool
    failures: int
    owner: str | None


class Jobs:
    """The tables `job` and `worker`. All times are those of the database's clock, which all workers share."""

    def __init__(
        self, database: Database, lease_seconds: float, clock: Clock | None = None, signals: Signals | None = None
    ) -> None:
        """
        clock    takes the place of the database's clock
        signals  notifies the workers at once of a requested round; None: they poll
        """
        self._database = database
        self._begin_announced = signals.announced if signals else database.begin
        self._lease_seconds = lease_seconds
        self._now: Callable[[], Any] = clock.now if clock else database.now

    def request(self, project: int, *, retry: bool = False) -> None:
        """Requests a round after an event. A running round does not answer this request, because it may have read the
        store before the event.

        retry  whether to end the pause after failed rounds
        """
        not_before = 0.0 if retry else sa.case((table.c.failures > 0, table.c.not_before), else_=0.0)
        self._request(project, sa.true(), not_before)

    def request_unless_waiting(self, project: int, after: float = 0.0) -> None:
        """Requests a round that begins in `after` seconds at the earliest and interrupts no other round, unless a
        request waits already. A request that the running round answers does not count as waiting."""
        now = self._now()
        is_running = sa.and_(table.c.owner.is_not(None), table.c.lease_until >= now)
        answered = sa.case((is_running, table.c.covers), else_=table.c.done)
        self._request(project, table.c.wanted <= answered, now + after)

    def _request(self, project: int, condition: sa.ColumnElement[bool], not_before: Any) -> None:
        change = sa.update(table).where(table.c.project == project, condition)
        with self._begin_announced() as connection:
            connection.execute(self._database.insert_or_ignore(table).values(project=project))
            connection.execute(change.values(wanted=table.c.wanted + 1, not_before=not_before))

    def claim(self, owner: str) -> Lease | None:
        """Takes the lease of the waiting project whose last lease ended first, so that all projects have their turn.
        Returns None if no project waits, or if another worker was faster."""
        if not self.claimable():
            return None
        is_claimable = self._is_claimable()
        with self._database.begin() as connection:
            oldest = sa.select(table).where(is_claimable).order_by(table.c.lease_until).limit(1)
            oldest = oldest.with_for_update(skip_locked=True)
            row = connection.execute(oldest).mappings().first()
            if row is None:
                return None
            lease = Lease(row["project"], owner, row["token"] + 1, row["wanted"])
            change = sa.update(table).where(table.c.project == lease.project).where(table.c.token == row["token"])
            change = change.values(
                owner=owner, token=lease.token, covers=lease.covers, lease_until=self._now() + self._lease_seconds
            )
            return lease if connection.execute(change).rowcount == 1 else None

    def _is_claimable(self) -> sa.ColumnElement[bool]:
        """Returns the condition for rows of projects whose round is requested and not running."""
        now = self._now()
        has_no_owner = sa.or_(table.c.owner.is_(None), table.c.lease_until < now)
        return sa.and_(table.c.wanted > table.c.done, has_no_owner, table.c.not_before <= now)

    def claimable(self) -> bool:
        """Returns whether a project waits for a worker."""
        query = sa.select(table.c.project).where(self._is_claimable()).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def renew(self, lease: Lease) -> bool:
        """Extends a lease. Returns False if the lease was lost: the worker that held it may no longer publish."""
        return self._change(lease, lease_until=self._now() + self._lease_seconds)

    def may_publish(self, lease: Lease) -> bool:
        """Returns whether a lease is still held and its project is connected."""
        is_held = sa.and_(table.c.project == lease.project, table.c.token == lease.token, table.c.owner == lease.owner)
        source = table.join(connections, connections.c.project == table.c.project)
        query = sa.select(table.c.project).select_from(source).where(is_held, connections.c.complete)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def is_event_waiting(self, lease: Lease) -> bool:
        """Returns whether an event has requested another round that could begin now: a newer one of the project than
        the lease covers, or one of another project that waits for a worker."""
        has_newer = sa.and_(table.c.project == lease.project, table.c.wanted > lease.covers)
        is_next = sa.and_(sa.or_(has_newer, self._is_claimable()), table.c.not_before == 0)
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.project).where(is_next).limit(1)).first() is not None

    def finish(self, lease: Lease) -> bool:
        """Marks the requests that the lease covers as answered, and gives the lease back. Newer requests still wait.
        Returns False if the lease was lost."""
        not_before = sa.case((table.c.failures > 0, 0.0), else_=table.c.not_before)
        return self._change(
            lease, done=lease.covers, owner=None, lease_until=self._now(), failures=0, not_before=not_before
        )

    def fail(self, lease: Lease) -> bool:
        """Gives the lease back after a failed round. The next round may begin after a pause that doubles with every
        successive failure. Returns False if the lease was lost."""
        pauses = {failures: min(2.0**failures, MAX_BACKOFF_SECONDS) for failures in range(FAILURES_TO_MAX_BACKOFF)}
        pause = sa.case(pauses, value=table.c.failures, else_=MAX_BACKOFF_SECONDS)
        now = self._now()
        return self._change(lease, owner=None, lease_until=now, failures=table.c.failures + 1, not_before=now + pause)

    def release(self, lease: Lease) -> bool:
        """Gives the lease of an unfinished round back, so that another worker may claim it at once. Returns False if
        the lease was lost."""
        with self._begin_announced() as connection:
            return _update_held(connection, lease, owner=None, lease_until=0.0)

    def _change(self, lease: Lease, **values: object) -> bool:
        with self._database.begin() as connection:
            return _update_held(connection, lease, **values)

    def state(self, project: int) -> JobState:
        """Returns the state of a project's job. A project without a job has no round, no failure and no owner."""
        is_held = sa.and_(table.c.owner.is_not(None), table.c.lease_until >= self._now()).label("running")
        with self._database.read() as connection:
            row = connection.execute(sa.select(table, is_held).where(table.c.project == project)).mappings().first()
        if row is None:
            return JobState(False, False, 0, None)
        running = bool(row["running"])
        answered = row["covers"] if running else row["done"]
        return JobState(running, row["wanted"] > answered, row["failures"], row["owner"])

    def record_heartbeat(self, name: str, pid: int) -> None:
        """Stores the heartbeat of a worker, and removes the workers whose last heartbeat is older than
        `WORKER_EXPIRY_SECONDS`."""
        with self._database.begin() as connection:
            connection.execute(self._database.put(worker, {"name": name, "pid": pid, "seen_at": self._now()}))
            connection.execute(sa.delete(worker).where(worker.c.seen_at < self._now() - WORKER_EXPIRY_SECONDS))

    def remove_worker(self, name: str) -> None:
        """Removes a worker that ends."""
        with self._database.begin() as connection:
            connection.execute(sa.delete(worker).where(worker.c.name == name))

    def workers(self, within_seconds: float = 30.0) -> list[str]:
        """Returns the names of the workers whose last heartbeat is at most `within_seconds` old."""
        query = sa.select(worker.c.name).where(worker.c.seen_at >= self._now() - within_seconds).order_by(worker.c.name)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())


def _update_held(connection: sa.Connection, lease: Lease, **values: object) -> bool:
    """Updates the row of a lease. Returns False if the lease was lost."""
    change = sa.update(table).where(table.c.project == lease.project, table.c.token == lease.token)
    return connection.execute(change.where(table.c.owner == lease.owner).values(**values)).rowcount == 1


def check_lease(connection: sa.Connection, lease: Lease | None) -> None:
    """Raises LeaseLostError if another worker has claimed the project. No worker can claim the project until the
    transaction of `connection` ends. None stands for a caller that needs no lease, and is not checked."""
    if lease is None:
        return
    held = sa.select(table.c.project).where(
        table.c.project == lease.project, table.c.token == lease.token, table.c.owner == lease.owner
    )
    if connection.execute(held.with_for_update()).first() is None:
        raise LeaseLostError(f"the lease of project {lease.project} is lost: another worker has claimed the project")
